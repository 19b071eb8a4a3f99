"""How much a place in a ranking counts."""

import numpy as np
from numpy.typing import NDArray


def discounts(places: int) -> NDArray[np.float64]:
    """(places,) 1 / log2(rank + 2) of the 0-based ranks."""
    return 1 / np.log2(np.arange(places) + 2.0)
