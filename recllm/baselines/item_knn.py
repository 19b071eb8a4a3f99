"""Item-based k-nearest neighbours: items that the same users had."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recllm.baselines.ranking import BaselineRanking, popularity_counts, popularity_keys
from recllm.baselines.voting import Voting
from recllm.catalog.histories import Spans

#: A similarity of 1 as an integer: so that equal sums are equal whatever the order of summation.
SCALE = 1 << 20
#: Pairs of items, one for each user who had both, that are counted at a time: bounds the memory.
_PAIRS = 1 << 20


@dataclass(frozen=True)
class Neighbours:
    """For each item those that are most similar to it.

    The similarity of two items is the cosine of their columns in the matrix of users and items,
    1 where a user had the item in training, damped where few users stand behind it:

        users who had both / (sqrt(users of the one * users of the other) + shrinkage)

    after Sarwar et al., "Item-based collaborative filtering recommendation algorithms", 2001, and
    Deshpande & Karypis, "Item-based top-N recommendation algorithms", 2004. An item is no
    neighbour of its own. Of equally similar ones the more popular are taken first, then those of
    the lower index.

    Attributes:
        items: (pairs,) int32, the neighbours of one item after those of another, nearest first.
        similarities: (pairs,) int32, the similarity times 2**20, rounded.
        offsets: (items + 1,) int64; those of item i are items[offsets[i]:offsets[i + 1]].
        counts: (items,) int64 training interactions.
    """

    items: NDArray[np.int32]
    similarities: NDArray[np.int32]
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def find(
        cls, sequences: Spans, items: int, neighbours: int, shrinkage: float = 0.0
    ) -> "Neighbours":
        """The nearest `neighbours` of each item, from training sequences, one a user."""
        counts = popularity_counts(sequences, items)
        by_popularity = popularity_keys(counts)
        had = _users_by_items(sequences, items)
        users = had.sum(axis=0)
        found: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = []
        kept = np.zeros(items + 1, dtype=np.int64)
        for first, both in _counted_together(had):
            item = first + np.repeat(np.arange(len(both.indptr) - 1), np.diff(both.indptr))
            other = both.indices.astype(np.int64)
            # Each step is rounded as IEEE 754 says: the same on every machine.
            damped = np.sqrt((users[item] * users[other]).astype(np.float64)) + shrinkage
            similarity = np.rint(both.data / damped * SCALE).astype(np.int64)
            nearest = np.lexsort((-by_popularity[other], -similarity, item))
            nearest = nearest[(item != other)[nearest] & (similarity > 0)[nearest]]
            nearest = nearest[_places(item[nearest]) < neighbours]
            found.append((other[nearest].astype(np.int32), similarity[nearest].astype(np.int32)))
            kept[1:] += np.bincount(item[nearest], minlength=items)
        empty = np.empty(0, dtype=np.int32)
        return cls(
            np.concatenate([empty, *(others for others, _ in found)]),
            np.concatenate([empty, *(similarity for _, similarity in found)]),
            np.cumsum(kept),
            counts,
        )

    def nearest(self, neighbours: int) -> sparse.csr_array:
        """(items, items) int64, the similarities of each item to its nearest `neighbours`."""
        counts = np.diff(self.offsets)
        item = np.repeat(np.arange(len(counts)), counts)
        near = np.arange(len(item)) - self.offsets[item] < neighbours
        offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, neighbours))])
        parts = (self.similarities[near].astype(np.int64), self.items[near], offsets)
        return sparse.csr_array(parts, shape=(len(counts), len(counts)))


@dataclass(frozen=True)
class ItemKnn:
    """Sums the similarities of a candidate to the last items of a history.

    Ties go by popularity, then by item index.

    Attributes:
        similarities: (items, items) int64, of each item its nearest neighbours alone.
        counts: (items,) int64 training interactions, for ties.
        last: how many items vote, counted from the end of a history; one that stands among them
            several times votes once.
    """

    similarities: sparse.csr_array
    counts: NDArray[np.int64]
    last: int

    def rank(
        self,
        histories: Spans,
        targets: NDArray[np.int32],
        beams: int,
        excluded: Spans | None = None,
        only: Spans | None = None,
    ) -> BaselineRanking:
        """Rank the catalogue for each row; see `rank_by_keys`."""
        return self.ask(histories).rank(targets, beams, excluded, only)

    def ask(self, histories: Spans) -> Voting:
        """The votes of each history's last items."""
        starts = np.maximum(histories.starts, histories.ends - self.last)
        votes = _users_by_items(Spans(histories.items, starts, histories.ends), len(self.counts))
        return Voting(votes, self.similarities, self.counts)


def _users_by_items(sequences: Spans, items: int) -> sparse.csr_array:
    """(sequences, items) int64: 1 where an item stands in a sequence."""
    row, item = sequences.flatten()
    ones = np.ones(len(row), dtype=np.int64)
    found = sparse.coo_array((ones, (row, item)), shape=(len(sequences), items)).tocsr()
    found.data[:] = 1
    return found


def _counted_together(had: sparse.csr_array) -> Iterator[tuple[int, sparse.csr_array]]:
    """How many users had both of two items, for some items after others.

    Yields:
        the first item of a block, and (items of the block, all items) int64.
    """
    by_item = had.T.tocsr()
    sizes = had.sum(axis=1)
    pairs = np.cumsum(by_item @ sizes)  # what multiplying the rows up to each item out takes
    first = 0
    while first < len(pairs):
        done = pairs[first - 1] if first else 0
        end = max(first + 1, int(np.searchsorted(pairs, done + _PAIRS, side="right")))
        yield first, by_item[first:end] @ had
        first = end


def _places(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the place of each entry within its run of equal, ascending values."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)
