"""Figures that no ranking of one target a row can have."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

#: How far a figure may be from its true value where nothing is said: what sums round.
_EXACT = 1e-9


def contradictions(
    figures: Mapping[str, float], rounding: Mapping[str, float] | None = None
) -> list[str]:
    """What is impossible in hit@k and ndcg@k of the same rows, in words; nothing where all fits.

    Each row has one target, found at one place or not at all. A hit between the places j and k is
    worth between 1 / log2(k + 1) and 1 / log2(j + 2) in ndcg, so that between two cutoffs, 0 among
    them, what ndcg gains is bounded by what hit gains. Published tables break it where the
    figures come from different rows, cutoffs or formulas.

    Args:
        figures: by names such as hit@10; other metrics are ignored.
        rounding: how far some may be from their true values, such as 5e-5 for four decimals.
    """
    near = dict.fromkeys(figures, _EXACT) | dict(rounding or {})
    found = [
        f"{name}: expected a figure from 0 to 1, found {value:g}"
        for name, value in figures.items()
        if name.startswith(("hit@", "ndcg@")) and not -near[name] <= value <= 1 + near[name]
    ]
    cutoffs = sorted(
        int(name.removeprefix("hit@"))
        for name in figures
        if name.startswith("hit@") and name.replace("hit@", "ndcg@") in figures
    )
    for low, high in pairwise([0, *cutoffs]):
        hits, gain = (_between(figures, metric, low, high) for metric in ("hit", "ndcg"))
        least, most = hits / np.log2(high + 1), hits / np.log2(low + 2)
        hit_slack, gain_slack = (_between(near, metric, low, high, 1) for metric in ("hit", "ndcg"))
        slack = hit_slack + gain_slack  # no figure weighs more than 1
        places = f"places {low + 1} to {high}"
        if hits < -hit_slack:
            found.append(f"hit@{high} is below hit@{low}: {hits:+.4f} for {places}")
        elif not least - slack <= gain <= most + slack:
            found.append(
                f"{places}: hits of {hits:.4f} are worth {least:.4f} to {most:.4f} in ndcg, "
                f"found {gain:.4f}"
            )
    return found


def _between(
    figures: Mapping[str, float], metric: str, low: int, high: int, sign: int = -1
) -> float:
    """The figure at `high`, less (or plus) that at `low`, if there is one."""
    return figures[f"{metric}@{high}"] + (sign * figures[f"{metric}@{low}"] if low else 0.0)
