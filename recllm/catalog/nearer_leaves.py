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
MOST_ITEMS = 100_000


def take_nearer_leaves(
    items: NDArray[np.int64],
    codes: NDArray[np.int32],
    vectors: NDArray[np.float32],
    codebooks: NDArray[np.float32],
) -> None:
    """Give items, in order, the nearest free leaf under their own prefix's siblings, if nearer.

    A sibling has the same codes but the last two. Leaves that items leave become free for those
    after them. Ties: lower codes first.

    Args:
        items: those that may move.
        codes: (all items, levels), no two rows equal; updated in place.
    """
    levels, codes_per_level, _ = codebooks.shape
    if levels < 2 or codes_per_level**2 > LARGEST_TABLE or not len(items):
        return
    items = items[:MOST_ITEMS]
    first, second = codebooks[-2:]
    squares = [np.einsum("kd,kd->k", rows, rows) for rows in (first, second)]
    pairs = squares[0][:, None] + squares[1] + 2 * (first @ second.T)
    parents = node_ids(codes, levels - 2, codes_per_level)
    under = dict(groups(parents))
    for parent, positions in groups(parents[items]):
        members = items[positions]
        residuals = leftovers(vectors[members], codes[members, :-2], codebooks)
        by_first, by_second = -2 * (residuals @ first.T), -2 * (residuals @ second.T)
        nearest = np.argsort(squares[0] + by_first, axis=1, kind="stable")[:, :SIBLINGS]
        leaves = codes[under[parent], -2].astype(np.int64) * codes_per_level
        taken = set((leaves + codes[under[parent], -1]).tolist())
        for row, item in enumerate(members.tolist()):
            own = tuple(codes[item, -2:])
            prefixes = np.sort(nearest[row])
            costs = pairs[prefixes] + by_first[row, prefixes, None] + by_second[row]
            now = pairs[own] + by_first[row, own[0]] + by_second[row, own[1]]
            better = np.flatnonzero(costs < now)
            for place in better[np.argsort(costs.flat[better], kind="stable")].tolist():
                prefix, code = int(prefixes[place // codes_per_level]), place % codes_per_level
                leaf = prefix * codes_per_level + code
                if leaf not in taken:
                    taken.remove(int(own[0]) * codes_per_level + int(own[1]))
                    taken.add(leaf)
                    codes[item, -2:] = prefix, code
                    break
