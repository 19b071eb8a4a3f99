"""Means of per-row values with their bootstrap intervals, as metrics.json holds them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from recllm.config.schema import EvalSection
from recllm.metrics.bootstrap import bootstrap_intervals
from recllm.metrics.ranking import compute, rank_metrics

Key = TypeVar("Key")


class Estimate(TypedDict):
    """The mean over all rows, its 95% interval by bootstrap over users, and the number of rows."""

    value: float
    ci95: list[float]
    n: int


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn."""

    resamples: int
    seed: int

    def estimate(
        self, columns: Mapping[Key, NDArray[np.float64]], users: NDArray[Any]
    ) -> dict[Key, Estimate]:
        """An estimate of each column's mean, all from the same resamples of users.

        Args:
            columns: per-row values, (rows,) each, with at least one row.
            users: (rows,) the user of each row.
        """
        if not columns:
            return {}
        values = np.stack(list(columns.values()), axis=1)
        intervals = bootstrap_intervals(values, users, self.resamples, self.seed)
        return {
            key: Estimate(value=float(mean), ci95=[float(low), float(high)], n=len(users))
            for key, mean, (low, high) in zip(columns, values.mean(axis=0), intervals, strict=True)
        }


def metric_names(section: EvalSection) -> list[str]:
    """The metrics that eval reports: those of each cutoff and of the headline, then the beams'."""
    metrics = rank_metrics().values()
    cutoffs = sorted({*section.cutoffs, headline_depth(section)})
    at_cutoffs = [f"{m.name}@{k}" for m in metrics if m.reported_at == "cutoffs" for k in cutoffs]
    return at_cutoffs + [f"{m.name}@{section.beams}" for m in metrics if m.reported_at == "beams"]


def headline_names(section: EvalSection) -> list[str]:
    """The metrics of slices and comparisons: hit@10 and ndcg@10, or at the beams if fewer."""
    depth = headline_depth(section)
    return [f"hit@{depth}", f"ndcg@{depth}"]


def headline_depth(section: EvalSection) -> int:
    """10, or the number of beams where that is smaller."""
    return min(10, section.beams)


def per_row(names: Iterable[str], ranks: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """The named metrics of each row."""
    return {name: compute(name, ranks) for name in names}
