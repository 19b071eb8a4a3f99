"""Mixes in a recipe: plugins by name, each with its weight alone or with options beside it."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from recllm.config.mistakes import explain, suggest
from recllm.config.registry import Plugin, Registry, unknown_name
from recllm.errors import UserError

#: Gives what a name and its value stand for, all keys written out, one of which is `weight`.
Read = Callable[[str, Any], dict[str, Any]]


def canonical_mix(
    kind: str, given: Mapping[str, Any], names: Iterable[str], read: Read
) -> dict[str, Any]:
    """The parts of a mix by their plain names; the value of each is its weight, or all its keys.

    A part whose value is null is left out, as one is that an extended recipe has.

    Args:
        kind: what a part is called.
        names: those of the registered plugins.

    Raises:
        ValidationError: with one error for each mistake, at the part or the option that has it.
    """
    canonical: dict[str, Any] = {}
    errors: list[InitErrorDetails] = []
    for name, value in given.items():
        plain = plain_name(name)
        if plain in canonical:
            errors.append(mistake((name,), f"the {kind} {plain!r} stands twice; keep one", value))
            continue
        if value is None and plain in names:
            continue
        canonical[plain] = value
        try:
            keys = read(name, value)
        except ValidationError as error:
            errors += [_copied(detail) for detail in error.errors()]
            continue
        canonical[plain] = keys if isinstance(value, Mapping) else keys["weight"]
    if not canonical:
        errors.append(mistake((), f"expected a {kind}, found all of them left out (null)"))
    refuse(kind, errors)
    return canonical


def plain_name(name: str) -> str:
    """The name as the registry has it; that of a function, with its package, as it is."""
    return name if "." in name else name.replace("_", "-")


def split_keys(given: Any) -> tuple[Any, dict[str, Any]]:
    """The weight of a part, 1 where it is left out, and the keys beside it."""
    keys = dict(given) if isinstance(given, Mapping) else {"weight": given}
    return keys.pop("weight", 1.0), keys


def weight_mistakes(
    kind: str, name: str, given: Any, or_zero: bool = False
) -> list[InitErrorDetails]:
    """What is wrong with the weight of a part: it must be a number above 0, or 0 where allowed."""
    weight, _ = split_keys(given)
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if is_number and (0 < weight < math.inf or (or_zero and weight == 0)):
        return []
    least = "be 0 or more" if or_zero else "be above 0"
    message = f"the weight of {kind} {name!r} must {least}, found {weight!r}"
    return [mistake((name, "weight") if isinstance(given, Mapping) else (name,), message)]


def find_plugin(registry: Registry[Any], name: str) -> type[Plugin]:
    """The plugin of a part.

    Raises:
        ValidationError: there is none; says which name is nearest.
    """
    try:
        return registry.load(name)
    except UserError:
        message = unknown_name(registry.kind, name, registry.names())
        raise ValidationError.from_exception_data(
            registry.kind, [mistake((name,), message)]
        ) from None


def make_plugin(
    plugin: type[Plugin], name: str, options: Mapping[str, Any], keys: Iterable[str]
) -> tuple[Any, list[InitErrorDetails]]:
    """A plugin with its options, or None and what is wrong with them.

    Args:
        keys: those of a part that are not options of its plugin.
    """
    try:
        return plugin.model_validate(dict(options)), []
    except ValidationError as error:
        return None, [
            mistake((name, *detail["loc"]), _explain(detail, plugin, keys))
            for detail in error.errors()
        ]


def refuse(kind: str, errors: Sequence[InitErrorDetails]) -> None:
    """Raise what was found wrong, if anything was.

    Raises:
        ValidationError: something was.
    """
    if errors:
        raise ValidationError.from_exception_data(kind, list(errors))


def mistake(loc: tuple[str | int, ...], message: str, found: Any = None) -> InitErrorDetails:
    """One thing that is wrong, and where."""
    # A brace would be taken for the place of a value.
    told = PydanticCustomError("value_error", "{message}", {"message": message})
    return InitErrorDetails(type=told, loc=loc, input=found)


def _explain(detail: ErrorDetails, plugin: type[Plugin], keys: Iterable[str]) -> str:
    if detail["type"] == "extra_forbidden":
        known = {*keys, *plugin.model_fields}
        return f"unknown key; {suggest(str(detail['loc'][-1]), known)}"
    return explain(detail, plugin)


def _copied(detail: ErrorDetails) -> InitErrorDetails:
    return mistake(detail["loc"], detail["msg"], detail["input"])
