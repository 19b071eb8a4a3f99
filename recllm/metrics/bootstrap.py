"""Bootstrap intervals over users (Efron, 1979; whole users are drawn: a cluster bootstrap).

Rows of one user are not independent, so users are resampled, each with all of its rows. Where
every user has one row this is the plain bootstrap.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Draws held at a time (8 bytes each, and as much again for their counts).
_DRAWS = 1 << 21


def bootstrap_intervals(
    columns: NDArray[Any], users: NDArray[Any], resamples: int, seed: int
) -> NDArray[np.float64]:
    """95% percentile intervals of the means of several columns, from the same resamples.

    Args:
        columns: (rows, columns) per-row values, finite.
        users: (rows,) the user of each row, of any type that numpy can sort.
        resamples: how many bootstrap samples to draw.
        seed: equal seeds give equal intervals.

    Returns:
        (columns, 2): the lower and upper limit of each column's mean over rows.

    Raises:
        ValueError: there are no rows.
    """
    if not len(columns):
        raise ValueError("an interval wants at least one row")
    distinct, user_of_row = np.unique(users, return_inverse=True)
    count = len(distinct)
    with_ones = [*np.asarray(columns, dtype=np.float64).T, np.ones(len(columns))]
    sums = np.stack([np.bincount(user_of_row, column, count) for column in with_ones], axis=1)
    means = np.empty((resamples, columns.shape[1]))
    generator = np.random.default_rng(seed)
    step = max(1, _DRAWS // count)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        totals = draw_counts(generator, size, count) @ sums
        means[start : start + size] = totals[:, :-1] / totals[:, -1:]
    return np.percentile(means, [2.5, 97.5], axis=0).T


def bootstrap_interval(
    values: NDArray[Any], users: NDArray[Any], resamples: int, seed: int
) -> tuple[float, float]:
    """The 95% interval of the mean of `values` (rows,); see `bootstrap_intervals`."""
    low, high = bootstrap_intervals(np.asarray(values)[:, None], users, resamples, seed)[0]
    return float(low), float(high)


def paired_interval(
    first: NDArray[Any], second: NDArray[Any], users: NDArray[Any], resamples: int, seed: int
) -> tuple[float, float]:
    """The 95% interval of the mean of `first - second`, two values of the same rows.

    It is tighter than two separate intervals suggest, for what both find hard cancels out.
    """
    return bootstrap_interval(np.subtract(first, second, dtype=float), users, resamples, seed)


def draw_counts(generator: np.random.Generator, size: int, count: int) -> NDArray[np.float64]:
    """(size, count): how often each of `count` users is drawn in `count` draws, `size` times."""
    draws = generator.integers(0, count, size=(size, count))
    draws += np.arange(size)[:, None] * count
    counts = np.bincount(draws.ravel(), minlength=size * count)
    return counts.reshape(size, count).astype(np.float64)
