"""What is left of vectors along their codes, and the nodes that the codes lead to."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

#: Rows of one block: a few megabytes, which stay in a processor's cache.
BLOCK_ROWS = 1024


def reconstruction_errors(
    vectors: NDArray[np.float32],
    codes: NDArray[np.int32],
    codebooks: NDArray[np.float32],
    items: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Squared distance of vectors to the sums of their codes' codebook rows.

    Args:
        vectors: (all items, dimensions).
        codes: (all items, levels).
        items: whose errors are wanted; None: everybody's.

    Returns:
        (items,)
    """
    errors = np.empty(len(codes) if items is None else len(items))
    for start in range(0, len(errors), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        wanted = rows if items is None else items[rows]
        left = leftovers(vectors[wanted], codes[wanted], codebooks)
        errors[rows] = np.einsum("nd,nd->n", left, left)
    return errors


def node_ids(codes: NDArray[np.int32], depth: int, codes_per_level: int) -> NDArray[np.int64]:
    """For each row, which node of the tree its first `depth` codes lead to: (items,).

    Nodes are numbered from 0 in the order of their codes, those that occur only. Numbering them
    level by level keeps the numbers below items × K, where K ** levels would overflow.
    """
    ids = np.zeros(len(codes), dtype=np.int64)
    for level in range(depth):
        ids = np.unique(ids * codes_per_level + codes[:, level], return_inverse=True)[1]
    return ids


def leftovers(
    vectors: NDArray[np.float32], codes: NDArray[np.int32], codebooks: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The vectors less the codebook rows of the leading codes that are given."""
    left = vectors.astype(np.float32, copy=True)
    for level in range(codes.shape[1]):
        left -= codebooks[level, codes[:, level]]
    return left


def groups(keys: NDArray[np.integer]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each distinct key, ascending, with the positions where it stands, ascending."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    for positions in np.split(order, starts[1:]):
        if len(positions):
            yield int(keys[positions[0]]), positions
