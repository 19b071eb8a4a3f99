"""Whether paired differences are more than chance, one by one and of many at once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Signs held at a time (8 bytes each).
_SIGNS = 1 << 21


def randomization_p_values(
    columns: NDArray[Any], users: NDArray[Any], resamples: int, seed: int
) -> NDArray[np.float64]:
    """Two-sided p-values of the means of several columns of paired differences.

    Fisher's randomisation test, which Smucker et al. (CIKM 2007) recommend for rankings: were both
    alike, every difference could as well have the other sign. Signs are drawn for whole users,
    whose rows are not independent. p is the share of draws whose mean is at least as far from 0 as
    the one that was found, which counts as a draw: it is never below 1 / (resamples + 1).

    Args:
        columns: (rows, columns) differences, finite.
        users: (rows,) the user of each row, of any type that numpy can sort.
        resamples: how many draws.
        seed: equal seeds give equal p-values.

    Returns:
        (columns,)
    """
    distinct, user_of_row = np.unique(users, return_inverse=True)
    values = np.asarray(columns, dtype=np.float64).T
    sums = np.stack([np.bincount(user_of_row, column, len(distinct)) for column in values], axis=1)
    sums = sums[sums.any(axis=1)]  # the sign of 0 does not matter
    found = np.abs(sums.sum(axis=0))
    # Sums of the same values in another order may differ by rounding.
    reached = found - 1e-9 * np.abs(sums).sum(axis=0)
    generator = np.random.default_rng(seed)
    as_far = np.ones(len(found))
    step = max(1, _SIGNS // max(len(sums), 1))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        signs = generator.integers(0, 2, size=(size, len(sums))) * 2.0 - 1.0
        as_far += (np.abs(signs @ sums) >= reached).sum(axis=0)
    return as_far / (resamples + 1)


def holm(p_values: NDArray[Any]) -> NDArray[np.float64]:
    """p-values corrected for their number: what is below a level is so of all at once.

    Holm (1979): of m the least times m, the next times m - 1 and so on, at most 1 and never below
    the one before. It needs no independence.

    Args:
        p_values: (comparisons,)
    """
    order = np.argsort(p_values, kind="stable")
    times = len(p_values) - np.arange(len(p_values))
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(np.asarray(p_values)[order] * times)
    return np.minimum(corrected, 1.0)
