"""Read a recipe: its YAML, the recipes it extends, and overrides from the command line."""

import re
from collections.abc import Hashable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from recllm.config.registry import nearest
from recllm.config.schema import Recipe, section_types
from recllm.config.validation import dump, validate
from recllm.errors import UserError

#: The sections and keys that hold mixes: plugins by name, each with a weight or with keys.
MIXES = (("sft", "tasks"), ("rl", "rewards"))
#: What the loader raises: also for a date that does not exist, or brackets a thousand deep.
NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


class _Loader(yaml.SafeLoader):
    """Safe YAML where 3e-4 is a number and a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, Hashable):
                raise UserError(f"line {line}: expected a name as the key, found {key!r}")
            if key in seen:
                raise UserError(f"line {line}: the key {key!r} stands twice; keep one of them")
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(  # YAML 1.1 wants "3.0e-4" and reads "3e-4" as text
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """The validated recipe `name`: a path to a YAML file, or the name of a shipped recipe.

    Args:
        overrides: `section.key=value` settings, values written as in YAML. `extends=NAME` lays
            another recipe over this one, such as one of `models/`.

    Raises:
        UserError: the file, a recipe that it extends, an override or a value is wrong.
    """
    raw = read_recipe(find_recipe(name))
    over: dict[str, Any] = {}
    for override in sorted(overrides, key=lambda text: text.partition("=")[0].count(".")):
        parsed = _parse_override(override)  # a whole value before the keys within it
        over = _merge_plainly(_with_full_mixes(over, parsed), parsed)
    more = _read_parents(over.pop("extends", None), Path("command line"), ())
    return validate(_merge(_merge(raw, more), over))


def to_yaml(recipe: Recipe) -> str:
    """The recipe with everything resolved, as YAML that loads to the same recipe."""
    return keys_to_yaml(dump(recipe))


def keys_to_yaml(keys: Mapping[str, Any]) -> str:
    """The keys of a recipe as YAML, in their order."""
    return yaml.safe_dump(dict(keys), sort_keys=False, allow_unicode=True)


def shipped_recipes() -> dict[str, str]:
    """The recipes that come with recllm: name (such as `base/quickstart`) to description."""
    return {
        _shipped_name(path): read_recipe(path).get("description", "") for path in _shipped_paths()
    }


def find_recipe(name: str, beside: Path | None = None) -> Path:
    """The file of a recipe: a path (also relative to `beside`), or a shipped recipe's name."""
    candidates = [Path(name)]
    if beside is not None:
        candidates += [beside / name, (beside / name).with_suffix(".yaml")]
    candidates += [
        _shipped_root() / f"{name}.yaml",
        _shipped_root() / name.removeprefix("recipes/"),
    ]
    for path in candidates:
        if path.is_file():
            return path
    if Path(name).is_dir():
        raise UserError(f"the recipe {name!r} is a folder; give the YAML file in it")
    close = nearest(name.removesuffix(".yaml"), map(_shipped_name, _shipped_paths()))
    hint = f"did you mean {close!r}?" if close else "`recllm recipes ls` lists those shipped"
    raise UserError(f"no recipe {name!r}: it is neither a file nor a shipped recipe; {hint}")


def read_recipe(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The keys of a recipe file, merged over those of the recipe, or recipes, that it extends.

    Of several, a later one is laid over those before it.
    """
    path = path.resolve()
    if path in seen:
        chain = " -> ".join(p.name for p in (*seen, path))
        raise UserError(f"recipes extend each other in a circle: {chain}")
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: the recipe cannot be read: {error}") from None
    except NOT_YAML as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{path}: this is not valid YAML: {problem}") from None
    if not isinstance(raw, dict):
        found = "nothing" if raw is None else f"a {type(raw).__name__}"
        raise UserError(f"{path}: expected a mapping of keys, found {found}")
    below = _read_parents(raw.pop("extends", None), path, (*seen, path))
    return _merge(below, raw)


def _read_parents(given: Any, path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The keys of the recipes that a recipe extends: `given` is a name or a list of them.

    Raises:
        UserError: it is neither, or a recipe cannot be read.
    """
    names = [] if given is None else given if isinstance(given, list) else [given]
    if not all(isinstance(name, str) for name in names):
        raise UserError(
            f"{path}: extends: expected a recipe's name, or some in [], found {given!r}"
        )
    merged: dict[str, Any] = {}
    for name in names:
        try:
            found = find_recipe(name, beside=path.parent)
        except UserError as error:
            raise UserError(f"{path}: extends: {error}") from None
        merged = _merge(merged, read_recipe(found, seen))
    merged.pop("description", None)
    return merged


def _shipped_root() -> Path:
    return Path(str(resources.files("recllm.recipes")))


def _shipped_paths() -> list[Path]:
    """The files of shipped recipes; those in accelerate/ are none."""
    root = _shipped_root()
    return sorted(p for p in root.rglob("*.yaml") if p.relative_to(root).parts[0] != "accelerate")


def _shipped_name(path: Path) -> str:
    return path.relative_to(_shipped_root()).with_suffix("").as_posix()


def _parse_override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"expected section.key=value, found {text!r}")
    try:
        parsed: Any = yaml.load(value, Loader=_Loader)
    except NOT_YAML:
        raise UserError(f"{text!r}: the value is not valid YAML; quote it") from None
    for part in reversed(key.split(".")):
        parsed = {part: parsed}
    return parsed


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on the recipe `base`.

    A section that chooses another plugin than its base loses the options of the base's plugin,
    and `model.name` and `model.from_scratch` replace each other.
    """
    kept = {
        key: _without_stale(key, old, over[key])
        if isinstance(old, dict) and isinstance(over.get(key), dict)
        else old
        for key, old in base.items()
    }
    return _merge_plainly(_with_full_mixes(kept, over), over)


def _with_full_mixes(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base`, with its mixes written as `over` writes them, so that the two can be merged.

    A part goes by the name that `over` gives it, and a bare weight is the key `weight` of a part
    that `over` gives other keys of: `sft.tasks.x.cap=64` leaves the weight as it is.
    """
    for section, key in MIXES:
        old, new = (_mix_of(recipe, section, key) for recipe in (base, over))
        written = {_plain(name): name for name in new}
        mix: dict[Any, Any] = {}
        for name, value in old.items():
            known = written.get(_plain(name), name)
            bare = isinstance(new.get(known), dict) and not isinstance(value, dict)
            mix[known] = {"weight": value} if bare else value
        if old:
            base = base | {section: base[section] | {key: mix}}
    return base


def _plain(name: Any) -> str:
    return str(name).replace("_", "-")


def _mix_of(recipe: dict[str, Any], section: str, key: str) -> dict[Any, Any]:
    keys = recipe.get(section)
    mix = keys.get(key) if isinstance(keys, dict) else None
    return mix if isinstance(mix, dict) else {}


def _merge_plainly(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, mappings merged key by key."""
    merged = dict(base)
    for key, value in over.items():
        old = base.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merge_plainly(old, value)
        else:
            merged[key] = value
    return merged


def _without_stale(section: str, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    if section == "model":
        rivals = {"name": "from_scratch", "from_scratch": "name"}
        return {k: v for k, v in old.items() if rivals.get(k) not in new}
    stale: set[str] = set()
    kind = section_types().get(section)
    for field, (registry, default) in (kind.choices if kind else {}).items():
        before = old.get(field, default)
        if field in new and str(new[field]).replace("_", "-") != str(before).replace("_", "-"):
            stale |= set(registry.load(str(before)).model_fields)
    return {k: v for k, v in old.items() if k not in stale}
