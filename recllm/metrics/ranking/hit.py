"""Hit rate: is the target among the first k."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

REPORTED_AT = "cutoffs"


def hit(ranks: NDArray[Any], k: int) -> NDArray[np.float64]:
    """[0 <= r < k] for each 0-based rank r; with one target a row this is also recall@k."""
    return ((ranks >= 0) & (ranks < k)).astype(np.float64)
