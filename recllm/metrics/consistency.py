"""Figures that no ranking of one target a row can have."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np


def contradictions(figures: Mapping[str, float], rounding: float = 1e-9) -> list[str]:
    """What is impossible in hit@k and ndcg@k of the same rows, in words; nothing where all fits.

    Each row has one target, found at one place or not at all. A hit between the places j and k is
    worth between 1 / log2(k + 1) and 1 / log2(j + 2) in ndcg, so that between two cutoffs, 0 among
    them, what ndcg gains is bounded by what hit gains. Published tables break it where the
    figures come from different rows, cutoffs or formulas.

    Args:
        figures: by names such as hit@10; other metrics are ignored.
        rounding: how far each may be from its true value, such as 5e-5 for four decimals.
    """
    found = [
        f"{name}: expected a figure from 0 to 1, found {value:g}"
        for name, value in figures.items()
        if name.startswith(("hit@", "ndcg@")) and not -rounding <= value <= 1 + rounding
    ]
    cutoffs = sorted(
        int(name.removeprefix("hit@"))
        for name in figures
        if name.startswith("hit@") and name.replace("hit@", "ndcg@") in figures
    )
    for low, high in pairwise([0, *cutoffs]):
        hits, gain = (_between(figures, metric, low, high) for metric in ("hit", "ndcg"))
        least, most = hits / np.log2(high + 1), hits / np.log2(low + 2)
        slack = 4 * rounding  # four figures, each weighted at most 1
        places = f"places {low + 1} to {high}"
        if hits < -2 * rounding:
            found.append(f"hit@{high} is below hit@{low}: {hits:+.4f} for {places}")
        elif not least - slack <= gain <= most + slack:
            found.append(
                f"{places}: hits of {hits:.4f} are worth {least:.4f} to {most:.4f} in ndcg, "
                f"found {gain:.4f}"
            )
    return found


def _between(figures: Mapping[str, float], metric: str, low: int, high: int) -> float:
    return figures[f"{metric}@{high}"] - (figures[f"{metric}@{low}"] if low else 0.0)
