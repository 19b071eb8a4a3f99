"""Items that follow each other closely in the training sequences."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recllm.baselines.ranking import BaselineRanking, popularity_counts
from recllm.baselines.voting import Voting
from recllm.catalog.histories import Spans

#: Pairs up to this distance count, and this many items of a history vote.
WINDOW = 3
LAST = 3

# Weights are held as integers, so that equal scores are equal whatever the order of summation.
_PAIR_SCALE = math.lcm(*range(1, WINDOW + 1))
_VOTE_SCALE = math.lcm(*range(1, LAST + 1))


@dataclass(frozen=True)
class CoVisitation:
    """Sums the co-visitation of a candidate with the last items of a history.

    Over each training sequence, every pair of items (a, then b) at distance d <= 3 adds 1/d to
    S[a, b]. A candidate's score is the sum over the last 3 items of the history, the j-th from
    the end weighted 1/j, of S[item, candidate]; ties go by popularity, then by item index.

    Attributes:
        weights: (items, items) int64, 6 S or 6 (S + Sᵀ).
        counts: (items,) int64 training interactions, for ties.
    """

    weights: sparse.csr_array
    counts: NDArray[np.int64]

    @classmethod
    def fit(cls, sequences: Spans, items: int, symmetric: bool = False) -> "CoVisitation":
        """Sum the pairs of training sequences; `symmetric` takes S + Sᵀ in place of S."""
        sequence, item = sequences.flatten()
        weights = sparse.csr_array((items, items), dtype=np.int64)
        for distance in range(1, WINDOW + 1):
            together = sequence[distance:] == sequence[:-distance]
            pairs = item[:-distance][together], item[distance:][together]
            value = np.full(len(pairs[0]), _PAIR_SCALE // distance, dtype=np.int64)
            weights = weights + sparse.coo_array((value, pairs), shape=(items, items)).tocsr()
        if symmetric:
            weights = weights + weights.T
        return cls(sparse.csr_array(weights), popularity_counts(sequences, items))

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
        return Voting(self._votes(histories), self.weights, self.counts)

    def _votes(self, histories: Spans) -> sparse.csr_array:
        """(rows, items) int64: 6/j for the j-th item from the end of each history."""
        last = histories.last(LAST)
        row, place = np.nonzero(last >= 0)
        value = _VOTE_SCALE // (place + 1)
        shape = (len(histories), len(self.counts))
        return sparse.coo_array((value, (row, last[row, place])), shape=shape).tocsr()
