"""The items nearest to an embedding, the popular ones brought nearer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.histories import History

#: Distances held at a time (8 bytes each, and a few times as much for the sort).
_CELLS = 1 << 20


def popularity_weights(popularity: NDArray[Any], gamma: float) -> NDArray[np.float64]:
    """(items,) (1 + C) ** -gamma, with C the popularity brought to [0, 1]."""
    return (1 + to_unit(popularity.astype(np.float64)[None, :])[0]) ** -gamma


def nearest_items(
    points: NDArray[Any],
    items: NDArray[Any],
    weights: NDArray[np.float64],
    beams: int,
    exclude: Sequence[History] | None,
    *,
    only: Sequence[History] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The items of the least weighted distance to each point, in [0, 1] before it is weighted.

    Args:
        points: (rows, dimensions), NaN where a row has none: all items are at distance 1 of it.
        items: (items, dimensions).
        weights: (items,) what distances are multiplied by.
        beams: how many items a row gets at most.
        exclude: for each row the items that it must not get.
        only: for each row the items that it alone may get.

    Returns:
        (rows, beams) items, best first, -1 where fewer are eligible, and their negated weighted
        distances, -inf there. Ties are broken by index.
    """
    kept = min(beams, len(items))
    best = np.full((len(points), beams), -1, dtype=np.int32)
    scores = np.full((len(points), beams), -np.inf, dtype=np.float32)
    step = max(1, _CELLS // max(len(items), 1))
    for start in range(0, len(points), step):
        rows = range(start, min(start + step, len(points)))
        distances = to_unit(squared_distances(points[rows.start : rows.stop], items) ** 0.5)
        distances = np.where(np.isnan(distances), 1.0, distances) * weights
        for place, row in enumerate(rows if exclude is not None else ()):
            distances[place, np.asarray(exclude[row], dtype=np.int64)] = np.inf  # type: ignore[index]
        if only is not None:
            allowed = np.zeros(distances.shape, dtype=bool)
            for place, row in enumerate(rows):
                allowed[place, np.asarray(only[row], dtype=np.int64)] = True
            distances[~allowed] = np.inf
        order = np.argsort(distances, axis=1, kind="stable")[:, :kept]
        found = np.take_along_axis(distances, order, axis=1)
        eligible = np.isfinite(found)
        best[rows.start : rows.stop, :kept] = np.where(eligible, order, -1)
        scores[rows.start : rows.stop, :kept] = np.where(eligible, -found, -np.inf)
    return best, scores


def squared_distances(points: NDArray[Any], items: NDArray[Any]) -> NDArray[np.float64]:
    """(points, items) the squared L2 distance of each pair, in float64."""
    first, second = points.astype(np.float64), items.astype(np.float64)
    norms = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None, :]
    return np.maximum(norms - 2 * first @ second.T, 0.0)


def to_unit(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row from its least (0) to its greatest value (1); a row of equal values is all 0."""
    least = values.min(axis=1, keepdims=True)
    span = values.max(axis=1, keepdims=True) - least
    return (values - least) / np.where(span > 0, span, 1.0)
