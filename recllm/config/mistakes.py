"""What pydantic found wrong, in words of the recipe."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from recllm.config.registry import nearest


def mistakes(
    error: ValidationError, model: type[BaseModel], path: str = "", skip: Iterable[str] = ()
) -> list[str]:
    """One line for each thing that pydantic found wrong with the values for `model`.

    Args:
        path: of the values in the recipe.
        skip: fields of which nothing is said.
    """
    lines: list[str] = []
    for detail in error.errors():
        loc = ".".join(str(part) for part in detail["loc"])
        if loc in skip:
            continue  # the section itself was found wrong and has been reported
        where = [".".join(part for part in (path, loc) if part)]
        lines.append(": ".join([*filter(None, where), explain(detail, model)]))
    return lines


def explain(detail: ErrorDetails, model: type[BaseModel]) -> str:
    """What was expected in one place of the values for `model`, and what was found."""
    kind, found = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        return f"unknown key; {suggest(str(detail['loc'][-1]), _fields_at(model, detail['loc']))}"
    if kind == "missing":
        return "is required, but missing"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if kind == "value_error":
        return message
    if kind in ("model_type", "dict_type"):
        message = "keys with values"
    return f"expected {message}, found {found!r}"


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> set[str]:
    """The fields of the model that the last part of an error's location was looked up in."""
    current: Any = model
    for part in loc[:-1]:
        field = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        annotation = field.annotation if field else None
        nested = [annotation, *getattr(annotation, "__args__", ())]
        current = next((n for n in nested if hasattr(n, "model_fields")), None)
    return set(current.model_fields) if current else set()


def suggest(key: str, known: Iterable[str]) -> str:
    """The known key most like an unknown one, or all that are known."""
    known = sorted(known)
    close = nearest(key, known)
    return f"did you mean {close!r}?" if close else f"known keys: {', '.join(known)}"
