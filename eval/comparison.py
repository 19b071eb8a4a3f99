"""Checkpoints compared: runs that differ by their seed taken together, rows paired."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from recllm.eval.estimates import Bootstrap
from recllm.metrics.ranking import compute
from recllm.metrics.significance import holm, randomization_p_values
from recllm.results.formats import score, signed

#: Draws of the randomisation test: its p-values are multiples of about 0.0001.
DRAWS = 10_000


@dataclass(frozen=True)
class Origin:
    """The run that a checkpoint comes from: what tells its recipe from others, and its seed."""

    recipe: str
    seed: int


@dataclass(frozen=True)
class Competitor:
    """A checkpoint, or those of one recipe with several seeds.

    Attributes:
        ranks: (seeds, rows) the 0-based rank of each row's target, -1 for a miss.
    """

    name: str
    ranks: NDArray[np.int32]

    def of_seeds(self, metric: str) -> NDArray[np.float64]:
        """(seeds,) the metric of each, a mean over rows."""
        return np.array([compute(metric, ranks).mean() for ranks in self.ranks])

    def of_rows(self, metric: str) -> NDArray[np.float64]:
        """(rows,) the metric of each, a mean over seeds."""
        return np.mean([compute(metric, ranks) for ranks in self.ranks], axis=0)


class Spread(TypedDict):
    """The metrics of several seeds: their means, and standard deviations (n - 1)."""

    name: str
    seeds: int
    metrics: dict[str, dict[str, float]]


class Difference(TypedDict):
    """The mean over rows of first minus second, and whether it is more than chance.

    `ci95` is by bootstrap over users, `p` by a randomisation test over users, `p_holm` is
    corrected for the number of pairs.
    """

    first: str
    second: str
    metric: str
    value: float
    ci95: list[float]
    p: float
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """What `comparison.json` holds."""

    spreads: list[Spread]
    differences: list[Difference]

    def as_text(self) -> str:
        """Tables for a terminal; empty where there is one competitor of one seed."""
        return "\n\n".join(
            part for part in (_spread_table(self.spreads), _pair_table(self.differences)) if part
        )


def group_seeds(
    ranks: Mapping[str, NDArray[Any]], origins: Mapping[str, Origin]
) -> list[Competitor]:
    """Checkpoints whose runs differ by their seed alone become one competitor.

    Args:
        ranks: (rows,) of each checkpoint, by its name.
        origins: of those whose run is known. A seed counts once: a second checkpoint of the same
            recipe and seed stands by itself.
    """
    groups: dict[Any, list[str]] = {}
    seen: set[Origin] = set()
    for name in ranks:
        origin = origins.get(name)
        known = origin is not None and origin not in seen
        groups.setdefault((origin.recipe,) if origin and known else name, []).append(name)
        seen |= {origin} if origin else set()
    return [
        Competitor(
            names[0] if len(names) == 1 else f"{names[0]} ({len(names)} seeds)",
            np.stack([ranks[name] for name in names]),
        )
        for names in groups.values()
    ]


def compare(
    competitors: Sequence[Competitor],
    users: NDArray[Any],
    metrics: Sequence[str],
    bootstrap: Bootstrap,
) -> Comparison:
    """Spreads over seeds, and the differences of all pairs on the same rows.

    Args:
        users: (rows,) the user of each row.
        metrics: such as hit@10.
    """
    rows = {(c.name, m): c.of_rows(m) for c in competitors for m in metrics}
    pairs = list(combinations([competitor.name for competitor in competitors], 2))
    differences: list[Difference] = []
    for metric in metrics if pairs else ():
        columns = {(a, b): rows[a, metric] - rows[b, metric] for a, b in pairs}
        estimates = bootstrap.estimate(columns, users)
        values = np.stack(list(columns.values()), axis=1)
        p_values = randomization_p_values(values, users, DRAWS, bootstrap.seed)
        for (pair, found), p, corrected in zip(
            estimates.items(), p_values, holm(p_values), strict=True
        ):
            differences.append(
                Difference(
                    first=pair[0],
                    second=pair[1],
                    metric=metric,
                    value=found["value"],
                    ci95=found["ci95"],
                    p=float(p),
                    p_holm=float(corrected),
                )
            )
    return Comparison([_spread(c, metrics) for c in competitors if len(c.ranks) > 1], differences)


def _spread(competitor: Competitor, metrics: Sequence[str]) -> Spread:
    found = {metric: competitor.of_seeds(metric) for metric in metrics}
    return Spread(
        name=competitor.name,
        seeds=len(competitor.ranks),
        metrics={
            metric: {"mean": float(values.mean()), "std": float(values.std(ddof=1))}
            for metric, values in found.items()
        },
    )


def _spread_table(spreads: Sequence[Spread]) -> str:
    if not spreads:
        return ""
    lines = ["mean ± standard deviation over seeds"]
    for spread in spreads:
        cells = [
            f"{metric} {score(of['mean'])} ± {score(of['std'])}"
            for metric, of in spread["metrics"].items()
        ]
        lines.append(f"  {spread['name']}: {', '.join(cells)}")
    return "\n".join(lines)


def _pair_table(differences: Sequence[Difference]) -> str:
    if not differences:
        return ""
    pairs = len({(d["first"], d["second"]) for d in differences})
    corrected = f", p corrected for {pairs} pairs (Holm)" if pairs > 1 else ""
    lines = [f"differences on the same rows, [95% interval]{corrected}"]
    for d in differences:
        low, high = (signed(limit) for limit in d["ci95"])
        p = f"p {d['p_holm']:.4f}" if d["p_holm"] >= 0.001 else "p < 0.001"
        lines.append(
            f"  {d['first']} − {d['second']}: {d['metric']} {signed(d['value'])} "
            f"[{low}, {high}], {p}"
        )
    return "\n".join(lines)
