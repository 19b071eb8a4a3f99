"""Figures of metrics.json with their intervals, and the names of metrics and recommenders."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NAMES = {
    "model": "this model",
    "covisitation": "co-visitation",
    "recent_repeat": "recent repeat",
    "item_knn": "item-kNN",
    "sasrec": "SASRec",
    "rating": "the item's mean rating",
    "targets": "the targets",
}


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval, whose limits are None where there is none."""

    value: float
    low: float | None = None
    high: float | None = None


def read_estimates(entries: Any) -> dict[str, Estimate]:
    """{name: {value, ci95: [lo, hi]}} as estimates; entries without a finite value are left out."""
    found: dict[str, Estimate] = {}
    for name, entry in (entries or {}).items():
        value = finite(entry.get("value"))
        low, high = (finite(limit) for limit in entry.get("ci95") or (None, None))
        if value is not None:
            found[name] = Estimate(value, low, high)
    return found


def finite(value: Any) -> float | None:
    """A number as float; None for what is no number or not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def sort_metrics(names: Mapping[str, Any]) -> list[str]:
    """Metric names by kind, in the order in which kinds first appear, then by cutoff."""
    kinds = list(dict.fromkeys(name.partition("@")[0] for name in names))
    return sorted(names, key=lambda name: (kinds.index(name.partition("@")[0]), cutoff(name)))


def cutoff(metric: str) -> int:
    """The k of a name such as hit@10; 0 where it has none."""
    match = re.search(r"@(\d+)$", metric)
    return int(match[1]) if match else 0


def display_name(recommender: str) -> str:
    """A recommender's name in running text."""
    return NAMES.get(recommender, recommender.replace("_", " "))
