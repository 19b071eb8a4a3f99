"""Dependencies point one way (an arrow reads: may be imported by)."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: config <- artifacts, metrics <- catalog <- prompts, decoding, results <- models, baselines
#: <- rewards <- data_prep, eval; train stands beside those two, and the CLI imports all.
LAYERS = {
    "errors": 0,
    "progress": 0,
    "world": 1,
    "config": 1,
    "artifacts": 2,
    "metrics": 2,
    "catalog": 3,
    "prompts": 4,
    "decoding": 4,
    "results": 4,
    "models": 5,
    "baselines": 5,
    "rewards": 6,
    "data_prep": 7,
    "eval": 7,
    "train": 7,
    "hub": 7,
    "cli": 8,
    "entry": 9,
}

#: What `python -m PACKAGE` runs is a command line, wherever it has to stand; nobody imports it.
ENTRY = "__main__"


def modules() -> dict[str, Path]:
    """Every module of recllm by dotted name."""
    found = {}
    for folder, prefix in (("recllm", ""), ("data_prep", "recllm."), ("eval", "recllm.")):
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[prefix + ".".join(p for p in parts if p != "__init__")] = path
    return found


def imported(path: Path) -> set[str]:
    """The recllm modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.startswith("recllm.")}


def test_dependencies_point_one_way() -> None:
    wrong = []
    for module, path in modules().items():
        parts = module.split(".")
        if len(parts) < 2:
            continue
        package = "cli" if parts[-1] == ENTRY else parts[1]
        for name in imported(path):
            other = "entry" if name.endswith(f".{ENTRY}") else name.split(".")[1]
            if other in (package, "__version__"):
                continue
            if LAYERS[other] >= LAYERS[package]:
                wrong.append(f"{module} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_every_package_has_a_layer() -> None:
    packages = {module.split(".")[1] for module in modules() if "." in module}
    assert packages <= set(LAYERS)


def test_files_stay_small() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines}"
        for path in modules().values()
        if (lines := len(path.read_text().splitlines())) > 300
    ]
    assert not long, f"split these files: {long}"
