"""Collision resolution: every item gets a semantic ID of its own, near the one it was given.

A quantizer may give several items the same codes. Seen as a tree with K children a node, a SID
is a leaf; resolution moves items of shared leaves to free ones:

1. Items that share with nobody keep their leaf, always.
2. Under each prefix (all codes but the last), the items that share are given the leaves that are
   not kept, such that the sum of their squared errors is the least: who stays on the shared leaf
   and who moves where is one linear assignment problem (Crouse, 2016), solved exactly. Where
   there are more items than leaves, the items left out are chosen with it: they count as if they
   had no last code.
   Under a prefix where that problem is too large (see LARGEST_PROBLEM), of the items that share
   a leaf the nearest keeps it, and the others, nearest first, take the nearest free leaf.
3. Where the prefix is full, the items left out, those nearest to their reconstruction first
   (ties: lower index first), move to the nearest prefix with room, staying under as many of
   their own leading codes as they can: prefixes that differ in their last code are tried first,
   then those that differ in the last two, and so on. Below the point where it leaves its own
   codes, an item takes at each level the nearest code that still has room beneath it (ties:
   lower code first).
4. Of the items that moved, those that lost most first, each takes a free leaf under a sibling of
   its prefix (that has the same codes but the last two), where that is nearer (see
   `nearer_leaves`, which also says how many do).

Each step is finished for the whole catalogue before the next one begins. Items that have a SID
already, because a model has learned it, are settled: no step moves them, and those that come later
take what they leave free. A new item that would share a leaf with a settled one is given another.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from recllm.catalog.nearer_leaves import take_nearer_leaves
from recllm.catalog.sid_tree import groups, leftovers, node_ids, reconstruction_errors
from recllm.errors import UserError

# More room than any catalogue can fill, small enough that sums over the codes fit an int64.
UNBOUNDED = 2**40
# Below any error: of the items that share a leaf, a settled one is the nearest.
SETTLED = -1.0
# Entries of one matrix of distances: bounds the memory at 64 MB, however large K is.
BLOCK_ENTRIES = 2**24
# Items × leaves of the largest assignment problem: about a second's work.
LARGEST_PROBLEM = 2**22
NOBODY = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Resolution:
    """Unique SIDs and what they cost.

    Attributes:
        codes: (items, levels) int32, no two rows equal.
        moved: items whose codes were changed.
        moved_prefix: those of them that left their prefix, all codes but the last.
        mse_before: mean squared error of the reconstructions, over items and dimensions, with
            the codes as given. Settled items do not count.
        mse_after: the same with the unique codes.
    """

    codes: NDArray[np.int32]
    moved: int
    moved_prefix: int
    mse_before: float
    mse_after: float


def resolve_collisions(
    codes: NDArray[np.int32],
    vectors: NDArray[np.float32],
    codebooks: NDArray[np.float32],
    settled: int = 0,
) -> Resolution:
    """Give every item its own SID, as the module's docstring says.

    Args:
        codes: (items, levels), each in [0, K); rows may be equal.
        vectors: (items, dimensions), what the codes stand for. Those of settled items are not
            looked at.
        codebooks: (levels, K, dimensions).
        settled: so many items, the first, have SIDs of their own that stay as they are; fewer
            than all.

    Raises:
        UserError: there are fewer SIDs than items.
    """
    items, levels = codes.shape
    codes_per_level = codebooks.shape[1]
    check_room(items, levels, codes_per_level)
    before = np.full(items, SETTLED)
    before[settled:] = reconstruction_errors(vectors[settled:], codes[settled:], codebooks)
    resolved = codes.astype(np.int32, copy=True)
    # Many small matrix products: threads that wait for each other cost more than they bring.
    with threadpool_limits(limits=1, user_api="blas"):
        waiting = _assign_under_prefixes(resolved, vectors, codebooks, before, settled)
        for depth in range(levels - 2, -1, -1):
            waiting = _place(waiting, depth, resolved, vectors, codebooks)
        moved = np.flatnonzero((resolved != codes).any(axis=1))
        after = before.copy()
        after[moved] = reconstruction_errors(vectors, resolved, codebooks, moved)
        most_first = moved[np.argsort(-(after - before)[moved], kind="stable")]
        nearer = take_nearer_leaves(most_first, resolved, vectors, codebooks)
    after[nearer] = reconstruction_errors(vectors, resolved, codebooks, nearer)
    dimensions = max(vectors.shape[1], 1)
    return Resolution(
        codes=resolved,
        moved=int((resolved != codes).any(axis=1).sum()),
        moved_prefix=int((resolved != codes)[:, :-1].any(axis=1).sum()),
        mse_before=float(before[settled:].mean() / dimensions),
        mse_after=float(after[settled:].mean() / dimensions),
    )


def check_room(items: int, levels: int, codes_per_level: int) -> None:
    """Refuse SIDs of a shape that has fewer of them than there are items.

    Raises:
        UserError: it has.
    """
    if codes_per_level**levels < items:
        raise UserError(
            f"expected at least as many SIDs as items, found {codes_per_level**levels} SIDs "
            f"({levels} levels of {codes_per_level} codes) for {items} items; "
            "raise sid.codes or sid.levels"
        )


def _assign_under_prefixes(
    codes: NDArray[np.int32],
    vectors: NDArray[np.float32],
    codebooks: NDArray[np.float32],
    errors: NDArray[np.float64],
    settled: int,
) -> NDArray[np.int64]:
    """Give items that share a leaf one each under their own prefix, as far as it has room.

    `codes` is updated in place. Returns the items that found no room, in the order in which they
    move on.
    """
    # Takes half a second, which reading a recipe should not.
    from scipy.optimize import linear_sum_assignment

    codes_per_level = codebooks.shape[1]
    leaf_ids = node_ids(codes, codes.shape[1], codes_per_level)
    shares = np.bincount(leaf_ids)[leaf_ids] > 1
    shares[:settled] = False
    prefixes = node_ids(codes, codes.shape[1] - 1, codes_per_level)
    concerned = np.flatnonzero(np.bincount(prefixes, weights=shares)[prefixes])
    squared = np.einsum("kd,kd->k", codebooks[-1], codebooks[-1])
    left_out, too_many = [NOBODY], [NOBODY]
    for _, positions in groups(prefixes[concerned]):
        under = concerned[positions]
        movers, keepers = under[shares[under]], under[~shares[under]]
        leaves = np.delete(np.arange(codes_per_level), codes[keepers, -1])
        if len(movers) * len(leaves) > LARGEST_PROBLEM:
            too_many.append(under)
            continue
        residuals = leftovers(vectors[movers], codes[movers, :-1], codebooks)
        # Less the residual's own squared norm: what an item costs that has no last code.
        costs = squared - 2 * (residuals @ codebooks[-1].T)
        placed, taken = linear_sum_assignment(costs[:, leaves])
        codes[movers[placed], -1] = leaves[taken]
        left_out.append(np.delete(movers, placed))
    losers = _all_but_the_nearest(np.concatenate(too_many), codes, errors, codes_per_level)
    left_out.append(_place(losers, codes.shape[1] - 1, codes, vectors, codebooks))
    waiting = np.sort(np.concatenate(left_out))
    return waiting[np.argsort(errors[waiting], kind="stable")]


def _all_but_the_nearest(
    items: NDArray[np.int64],
    codes: NDArray[np.int32],
    errors: NDArray[np.float64],
    codes_per_level: int,
) -> NDArray[np.int64]:
    """Of the items that share a leaf, all but the one nearest to it, nearest first."""
    items = np.sort(items)
    nearest_first = items[np.argsort(errors[items], kind="stable")]
    leaf_ids = node_ids(codes[nearest_first], codes.shape[1], codes_per_level)
    return np.delete(nearest_first, np.unique(leaf_ids, return_index=True)[1])


def _place(
    waiting: NDArray[np.int64],
    depth: int,
    codes: NDArray[np.int32],
    vectors: NDArray[np.float32],
    codebooks: NDArray[np.float32],
) -> NDArray[np.int64]:
    """Place items under the node that their first `depth` codes name, as far as it has room.

    `codes` is updated in place. Returns the items that found no room, in order.
    """
    if not len(waiting):
        return waiting
    nodes = node_ids(codes, depth, codebooks.shape[1])
    placed = np.delete(np.arange(len(codes)), waiting)
    placed = placed[np.argsort(nodes[placed], kind="stable")]
    placed_nodes = nodes[placed]
    fits = np.zeros(len(waiting), dtype=bool)
    for node, positions in groups(nodes[waiting]):
        first, last = np.searchsorted(placed_nodes, [node, node + 1])
        occupied = codes[placed[first:last], depth:]
        fitting = positions[: _capacity(codebooks, depth) - len(occupied)]
        members = waiting[fitting]
        residuals = leftovers(vectors[members], codes[members, :depth], codebooks)
        codes[members, depth:] = _descend(residuals, occupied, codebooks[depth:])
        fits[fitting] = True
    return waiting[~fits]


def _descend(
    residuals: NDArray[np.float32], occupied: NDArray[np.int32], codebooks: NDArray[np.float32]
) -> NDArray[np.int32]:
    """Free paths below one node, one for each residual, in order; there is room for all.

    Args:
        residuals: (items, dimensions).
        occupied: (taken, levels) the paths below the node that are taken.
        codebooks: (levels, K, dimensions) of the levels below the node.

    Returns:
        (items, levels) codes.
    """
    taken = np.bincount(occupied[:, 0], minlength=codebooks.shape[1])
    choice = _nearest_with_room(residuals, codebooks[0], _capacity(codebooks, 1) - taken)
    paths = np.empty((len(residuals), len(codebooks)), dtype=np.int32)
    paths[:, 0] = choice
    if len(codebooks) > 1:
        taken_below = dict(groups(occupied[:, 0]))
        for code, members in groups(choice):
            below = occupied[taken_below.get(code, NOBODY), 1:]
            left = residuals[members] - codebooks[0, code]
            paths[members, 1:] = _descend(left, below, codebooks[1:])
    return paths


def _nearest_with_room(
    residuals: NDArray[np.float32], codebook: NDArray[np.float32], free: NDArray[np.int64]
) -> NDArray[np.int64]:
    """One code for each residual: the nearest one that the earlier ones have not filled."""
    open_codes = np.flatnonzero(free > 0)
    room = free[open_codes].tolist()  # read and written one by one: a list is faster
    closed = np.zeros(len(open_codes), dtype=np.float32)
    rows = codebook[open_codes]
    squared = np.einsum("kd,kd->k", rows, rows)
    choice = [0] * len(residuals)
    block = max(BLOCK_ENTRIES // max(len(open_codes), 1), 1)
    for start in range(0, len(residuals), block):
        # Less the residual's own squared norm, which does not change the order.
        distances = squared - 2 * (residuals[start : start + block] @ rows.T)
        for i, row in enumerate(distances, start):
            nearest = choice[i] = int((row + closed).argmin())
            room[nearest] -= 1
            if not room[nearest]:
                closed[nearest] = np.inf
    return open_codes[choice]


def _capacity(codebooks: NDArray[np.float32], depth: int) -> int:
    """How many leaves a node at this depth of the tree has."""
    levels, codes_per_level, _ = codebooks.shape
    return min(codes_per_level ** (levels - depth), UNBOUNDED)
