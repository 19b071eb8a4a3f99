"""Ranking the whole catalogue by integer keys, in chunks of rows."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.histories import Spans

#: Keys held at a time (8 bytes each): what bounds the memory for any number of rows and items.
_CELLS = 1 << 19


@dataclass(frozen=True)
class BaselineRanking:
    """What a recommender says of each row.

    Attributes:
        ranks: (rows,) int32, the 0-based rank of the target, -1 where it is not in the beams.
        items: (rows, beams) int32, the best items in order, -1 where a row has fewer.
    """

    ranks: NDArray[np.int32]
    items: NDArray[np.int32]


def popularity_counts(sequences: Spans, items: int) -> NDArray[np.int64]:
    """(items,) how many training interactions each item has."""
    return np.bincount(sequences.flatten()[1], minlength=items)


def popularity_keys(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(items,) distinct keys in [0, items): higher for more popular items, then lower indices."""
    keys = np.empty(len(counts), dtype=np.int64)
    keys[np.argsort(-counts, kind="stable")] = np.arange(len(counts))[::-1]
    return keys


def rank_by_keys(
    keys_of: Callable[[slice], NDArray[np.int64]],
    items: int,
    targets: NDArray[np.int32],
    beams: int,
    excluded: Spans | None,
    *,
    only: Spans | None = None,
) -> BaselineRanking:
    """Rank all items for each row by descending key.

    Args:
        keys_of: gives (rows of the slice, items) keys, at least 0 and distinct within a row; the
            array is overwritten.
        items: the size of the catalogue.
        targets: (rows,) the item whose rank is asked for.
        beams: how many items are kept; a target ranked lower counts as missed.
        excluded: items that each row must not be recommended; None excludes nothing. A target
            that is excluded is missed.
        only: items, each once, that alone each row may be recommended; None allows all. A target
            that is not among them is missed.
    """
    ranks = np.full(len(targets), -1, dtype=np.int32)
    best = np.full((len(targets), beams), -1, dtype=np.int32)
    step = max(1, _CELLS // items)
    for start in range(0, len(targets), step):
        rows = slice(start, min(start + step, len(targets)))
        keys = keys_of(rows)
        if excluded is not None:
            keys[excluded.select(rows).flatten()] = -1
        listed = None if only is None else _as_table(only.select(rows))
        if listed is None:
            own = np.take_along_axis(keys, targets[rows, None].astype(np.int64), axis=1)[:, 0]
        else:
            keys = np.where(listed >= 0, np.take_along_axis(keys, listed, axis=1), -1)
            own = np.where(listed == targets[rows, None], keys, -1).max(axis=1)
        ahead = np.count_nonzero(keys > own[:, None], axis=1)
        ranks[rows] = np.where((own >= 0) & (ahead < beams), ahead, -1)
        top = _top(keys, beams)
        if listed is not None:
            top = np.where(top >= 0, np.take_along_axis(listed, top, axis=1), -1)
        best[rows, : top.shape[1]] = top
    return BaselineRanking(ranks, best)


def _as_table(lists: Spans) -> NDArray[np.int64]:
    """(lists, longest, at least 1): the items of each list, -1 after its end."""
    table = np.full((len(lists), max(1, lists.lengths.max(initial=0))), -1, dtype=np.int64)
    table[np.arange(table.shape[1]) < lists.lengths[:, None]] = lists.flatten()[1]
    return table


def _top(keys: NDArray[np.int64], beams: int) -> NDArray[np.int64]:
    """(rows, min(beams, items)): the items of the highest keys, -1 in place of excluded ones."""
    items = keys.shape[1]
    kept = min(beams, items)
    top = np.argpartition(keys, items - kept, axis=1)[:, items - kept :]
    order = np.argsort(-np.take_along_axis(keys, top, axis=1), axis=1)
    top = np.take_along_axis(top, order, axis=1)
    return np.where(np.take_along_axis(keys, top, axis=1) >= 0, top, -1)
