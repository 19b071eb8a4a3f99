"""Recommenders in which the items of a history vote for others by a sparse matrix."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recllm.baselines.ranking import BaselineRanking, popularity_keys, rank_by_keys
from recllm.catalog.histories import Spans

#: Rows of votes that are multiplied out at a time where only the targets are ranked.
_ROWS = 1 << 12


@dataclass(frozen=True)
class Voting:
    """A candidate's score is the sum over the voting items of vote times weight.

    Ties go by popularity, then by item index. All is held in integers, so that equal scores are
    equal whatever the order of summation.

    Attributes:
        votes: (rows, items) int64, at least 0: how much an item of a row's history counts.
        weights: (items, items) int64, at least 0: from the item that votes to the candidate.
        counts: (items,) int64 training interactions, for ties.
    """

    votes: sparse.csr_array
    weights: sparse.csr_array
    counts: NDArray[np.int64]

    def rank(
        self,
        targets: NDArray[np.int32],
        beams: int,
        excluded: Spans | None,
        only: Spans | None = None,
    ) -> BaselineRanking:
        """Rank the catalogue for each row; see `rank_by_keys`."""
        items = len(self.counts)
        by_popularity = popularity_keys(self.counts)

        def keys_of(rows: slice) -> NDArray[np.int64]:
            scores = (self.votes[rows] @ self.weights).toarray()
            return scores * items + by_popularity

        return rank_by_keys(keys_of, items, targets, beams, excluded, only=only)

    def target_ranks(self, targets: NDArray[np.int32], excluded: Spans | None) -> NDArray[np.int64]:
        """(rows,) the 0-based rank of each target, -1 where it is excluded; as `rank`, faster.

        Only the items that somebody voted for are looked at: those without a vote stand below
        them by popularity, and how many of these are ahead is known without a look.
        """
        places = [slice(s, s + _ROWS) for s in range(0, len(targets), _ROWS)]
        found = [
            self._target_ranks(place, targets[place], excluded and excluded.select(place))
            for place in places
        ]
        return np.concatenate([*found, np.empty(0, dtype=np.int64)])

    def _target_ranks(
        self, place: slice, targets: NDArray[np.int32], excluded: Spans | None
    ) -> NDArray[np.int64]:
        items, rows = len(self.counts), np.arange(len(targets))
        by_popularity = popularity_keys(self.counts)
        # Twice the score, and 1 more where the item is excluded: one matrix says both.
        looked_at = 2 * (self.votes[place] @ self.weights)
        if excluded is not None:
            row, item = excluded.flatten()
            mask = sparse.coo_array((np.ones(len(row), np.int64), (row, item)), looked_at.shape)
            mask = mask.tocsr()
            mask.data[:] = 1  # an item may stand in a history several times
            looked_at = looked_at + mask
        own = looked_at[rows, targets]
        own_key = own // 2 * items + by_popularity[targets]
        row = np.repeat(rows, np.diff(looked_at.indptr))
        popular = by_popularity[looked_at.indices]
        key = looked_at.data // 2 * items + popular
        ahead = np.bincount(
            row[(looked_at.data % 2 == 0) & (key > own_key[row])], minlength=len(rows)
        )
        more_popular = np.bincount(row[popular > by_popularity[targets][row]], minlength=len(rows))
        without_votes = items - 1 - by_popularity[targets] - more_popular
        ranks = ahead + np.where(own < 2, without_votes, 0)
        return np.where(own % 2 == 0, ranks, -1)
