"""What a recipe, a manifest or a table of metrics says of the machine and its owner, taken out."""

import re
from dataclasses import dataclass
from typing import Any

#: A path from a root, a home or a folder above: more than one name of a text that is nothing else.
_POSIX = re.compile(r"^(~[^/\s]*|\.\.|file:)?(/+[^/\n]+)+/*$")
_WINDOWS = re.compile(r"^([A-Za-z]:[\\/]|\\\\\w)[^\n]*$")
#: Keys such as TRL's hub_token and Spark's spark.hadoop.fs.s3a.secret.key.
_SECRET = re.compile(
    r"secret|passw(or)?d|credential|(access|api)[._-]?key|(hub|hf|auth|access|api)[._-]?token", re.I
)


@dataclass
class Removed:
    """How much was taken out.

    Attributes:
        paths: of this machine, cut to their last part.
        secrets: passwords, tokens and keys, left out with their names.
    """

    paths: int = 0
    secrets: int = 0


def without_private(value: Any, removed: Removed) -> Any:
    """JSON values with the paths of this machine cut to their last part, and without secrets.

    A relative path stays: it tells how a run's folder is laid out, not where it is.

    Args:
        removed: is counted up.
    """
    if isinstance(value, dict):
        kept = {name: v for name, v in value.items() if not _is_secret(name, v)}
        removed.secrets += len(value) - len(kept)
        return {_cut(name, removed): without_private(v, removed) for name, v in kept.items()}
    if isinstance(value, list):
        return [without_private(element, removed) for element in value]
    return _cut(value, removed)


def _is_secret(name: Any, value: Any) -> bool:
    return isinstance(value, str) and isinstance(name, str) and bool(_SECRET.search(name))


def _cut(value: Any, removed: Removed) -> Any:
    if not isinstance(value, str):
        return value
    last = ""
    if _WINDOWS.match(value):
        last = re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    elif _POSIX.match(value):
        last = value.rstrip("/").rpartition("/")[2]
    if not re.search(r"\w", last):  # no path, but a text such as "/ "
        return value
    removed.paths += 1
    return last
