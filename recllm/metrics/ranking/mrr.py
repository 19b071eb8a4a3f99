"""Mean reciprocal rank, cut at the number of beams."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

REPORTED_AT = "beams"


def mrr(ranks: NDArray[Any], k: int) -> NDArray[np.float64]:
    """[0 <= r < k] / (r + 1) for each 0-based rank r."""
    hits = (ranks >= 0) & (ranks < k)
    return np.where(hits, 1.0 / (np.where(hits, ranks, 0) + 1.0), 0.0)
