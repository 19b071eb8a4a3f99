"""The fields of other libraries' configurations, read from their source.

Importing TRL or vLLM takes many seconds, and checking a recipe should not.
"""

import ast
import importlib.util
from functools import cache
from pathlib import Path

CONFIGS = {
    "sft": ("trl.trainer.sft_config", "SFTConfig"),
    "rl": ("trl.trainer.grpo_config", "GRPOConfig"),
}


@cache
def trainer_fields(kind: str) -> dict[str, tuple[str, ...]]:
    """What the trainer block of a stage may have, inherited fields among it.

    Returns:
        The types that each field takes, as they are written: ("float", "None").
    """
    return annotated_fields(*CONFIGS[kind])


@cache
def annotated_fields(module: str, name: str) -> dict[str, tuple[str, ...]]:
    """The annotated attributes of a dataclass and of the dataclasses that it is derived from.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    tree = ast.parse(_source(module).read_text(encoding="utf-8"))
    origins = {
        alias.asname or alias.name: (_absolute(node, module), alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found: dict[str, tuple[str, ...]] = {}
    for base in classes[name].bases:
        if isinstance(base, ast.Name) and base.id in classes:
            found |= annotated_fields(module, base.id)
        elif isinstance(base, ast.Name) and base.id in origins:
            found |= annotated_fields(*origins[base.id])
    for statement in classes[name].body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found[statement.target.id] = _types(statement.annotation)
    return found


def _types(annotation: ast.expr) -> tuple[str, ...]:
    """The types of a union, or the one type that it is."""
    if isinstance(annotation, ast.BinOp):
        return _types(annotation.left) + _types(annotation.right)
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Optional":
        return (*_types(annotation.slice), "None")
    return (ast.unparse(annotation),)


def _absolute(node: ast.ImportFrom, module: str) -> str:
    if not node.level:
        return node.module or ""
    parents = module.split(".")[: -node.level]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _source(module: str) -> Path:
    """The file of a module or package, without importing it."""
    package, _, rest = module.partition(".")
    spec = importlib.util.find_spec(package)  # of a top-level name: nothing is imported
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(package)
    path = Path(spec.submodule_search_locations[0]).joinpath(*rest.split(".")) if rest else None
    if path is not None and path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    # `from transformers import TrainingArguments` names a lazy package: the class's own file
    return Path(spec.submodule_search_locations[0]) / "training_args.py"
