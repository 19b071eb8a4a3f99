"""Tables of figures, independent of how they are rendered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recllm.results.estimates import Estimate
from recllm.results.formats import MISSING, interval, quantity, score, signed, words


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, an interval or remark in small print, and whether it leads."""

    text: str
    detail: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose first `labels` columns name the rows; `folded` hides it behind its caption."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    folded: bool = False
    labels: int = 1


def estimate_cell(estimate: Estimate | None, best: bool = False, difference: bool = False) -> Cell:
    """A value with its interval; a dash where there is none."""
    if estimate is None:
        return Cell(MISSING)
    show = signed if difference else score
    return Cell(show(estimate.value), interval(estimate), best)


def best_of(estimates: Sequence[Estimate | None]) -> float | None:
    """The highest value of a column of at least two; None where there is nothing to lead."""
    values = [estimate.value for estimate in estimates if estimate]
    return max(values) if len(values) > 1 else None


def estimate_row(name: str, estimates: Sequence[Estimate | None]) -> list[Cell]:
    """A row of values to be compared with each other: the best one is marked."""
    best = best_of(estimates)
    cells = [estimate_cell(e, best=e is not None and e.value == best) for e in estimates]
    return [Cell(name), *cells]


def facts(values: Mapping[str, Any], head: Sequence[str], caption: str = "") -> Table:
    """A table of names and figures; nested mappings are flattened, their names joined."""
    rows = [[Cell(words(name)), Cell(quantity(name, value))] for name, value in flatten(values)]
    return Table(head, rows, caption)


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The leaves of nested mappings, named by the path to them."""
    leaves: list[tuple[str, Any]] = []
    for name, value in values.items():
        path = f"{prefix} {name}" if prefix else str(name)
        leaves += flatten(value, path) if isinstance(value, Mapping) else [(path, value)]
    return leaves
