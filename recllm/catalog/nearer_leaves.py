"""The last step of collision resolution: a nearer leaf under a sibling of an item's prefix.

Residual quantization is greedy: of the sums of a next-to-last and a last code, the nearest to a
vector is often not the one that its nearest next-to-last code begins. An item that could not
have its own leaf may therefore find a free one under another prefix that is nearer than the best
under its own.
"""

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.sid_tree import groups, leftovers, node_ids

#: Prefixes whose leaves an item looks at: those nearest to it.
SIBLINGS = 16
#: Entries of the table of all pairs of codes; with more, this step is left out.
LARGEST_TABLE = 2**24
#: Of more items than these, only the first move: bounds the time.
MOST_ITEMS = 300_000


def take_nearer_leaves(
    items: NDArray[np.int64],
    codes: NDArray[np.int32],
    vectors: NDArray[np.float32],
    codebooks: NDArray[np.float32],
) -> NDArray[np.int64]:
    """Give items, in order, the nearest free leaf under their own prefix's siblings, if nearer.

    A sibling has the same codes but the last two. Leaves that items leave become free for those
    after them. Ties: lower codes first.

    Args:
        items: those that may move.
        codes: (all items, levels), no two rows equal; updated in place.

    Returns:
        Those that moved.
    """
    levels, codes_per_level, _ = codebooks.shape
    if levels < 2 or codes_per_level**2 > LARGEST_TABLE or not len(items):
        return items[:0]
    items, moved = items[:MOST_ITEMS], []
    first, second = codebooks[-2:]
    squares = [np.einsum("kd,kd->k", rows, rows) for rows in (first, second)]
    pairs = squares[0][:, None] + squares[1] + 2 * (first @ second.T)
    free = pairs.copy()  # infinite where a leaf is taken, under one parent at a time
    parents = node_ids(codes, levels - 2, codes_per_level)
    under = dict(groups(parents))
    for parent, positions in groups(parents[items]):
        members = items[positions]
        residuals = leftovers(vectors[members], codes[members, :-2], codebooks)
        by_first, by_second = -2 * (residuals @ first.T), -2 * (residuals @ second.T)
        nearest = np.argsort(squares[0] + by_first, axis=1, kind="stable")[:, :SIBLINGS]
        free[tuple(codes[under[parent], -2:].T)] = np.inf
        for row, item in enumerate(members.tolist()):
            own = tuple(codes[item, -2:])
            prefixes = np.sort(nearest[row])
            costs = free[prefixes] + by_first[row, prefixes, None] + by_second[row]
            best = int(costs.argmin())
            leaf = int(prefixes[best // codes_per_level]), best % codes_per_level
            now = pairs[own] + by_first[row, own[0]] + by_second[row, own[1]]
            if costs.flat[best] < now:
                free[own], free[leaf] = pairs[own], np.inf
                codes[item, -2:] = leaf
                moved.append(item)
        taken = tuple(codes[under[parent], -2:].T)
        free[taken] = pairs[taken]
    return np.array(moved, dtype=np.int64)
