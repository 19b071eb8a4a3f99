"""Metrics of a target's rank. A new file in this folder is a new metric.

The file `hit.py` defines the function `hit(ranks, k)`, which takes 0-based ranks, -1 for a target
outside the beams, and gives one float a row; a miss must count 0. It also defines `REPORTED_AT`:
"cutoffs" for a metric that is given at each cutoff of the recipe, "beams" for one that is given
once, at the number of beams.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recllm.config.registry import unknown_name
from recllm.errors import UserError


@dataclass(frozen=True)
class RankMetric:
    """One metric: its name, its formula, and where eval reports it."""

    name: str
    per_row: Callable[[NDArray[Any], int], NDArray[np.float64]]
    reported_at: Literal["cutoffs", "beams"]


@cache
def rank_metrics() -> dict[str, RankMetric]:
    """Every metric in this folder, by name, in alphabetical order."""
    found: dict[str, RankMetric] = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        module = importlib.import_module(f"{__name__}.{name}")
        found[name] = RankMetric(name, getattr(module, name), module.REPORTED_AT)
    return found


def parse(name: str) -> tuple[RankMetric, int]:
    """The metric and the cutoff of a name such as `ndcg@10`.

    Raises:
        UserError: the name has another form, or no metric is called so.
    """
    metric, _, cutoff = name.partition("@")
    if not cutoff.isdecimal() or int(cutoff) < 1:
        raise UserError(f"expected a metric with a cutoff such as hit@10, found {name!r}")
    if metric not in rank_metrics():
        raise UserError(unknown_name("metric", metric, rank_metrics()))
    return rank_metrics()[metric], int(cutoff)


def compute(name: str, ranks: NDArray[Any]) -> NDArray[np.float64]:
    """The metric called `name` (such as `hit@10`) of each row.

    Args:
        ranks: (rows,) 0-based ranks of the targets, -1 for a target outside the beams.
    """
    metric, cutoff = parse(name)
    return metric.per_row(ranks, cutoff)


def ranks_of(items: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.int32]:
    """The 0-based rank of each row's target among its items, -1 where it is not among them.

    Args:
        items: (rows, beams) item indices, best first, -1 where a row has fewer.
        targets: (rows,) item indices, at least 0.
    """
    found = items == targets[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1), -1).astype(np.int32)
