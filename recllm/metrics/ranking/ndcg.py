"""Normalised discounted cumulative gain (Järvelin and Kekäläinen, 2002) with one target a row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

REPORTED_AT = "cutoffs"


def ndcg(ranks: NDArray[Any], k: int) -> NDArray[np.float64]:
    """[0 <= r < k] / log2(r + 2) for each 0-based rank r; the ideal gain of one target is 1."""
    hits = (ranks >= 0) & (ranks < k)
    return np.where(hits, 1.0 / np.log2(np.where(hits, ranks, 0) + 2.0), 0.0)
