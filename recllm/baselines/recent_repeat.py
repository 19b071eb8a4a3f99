"""The items of the user's own history once more, the most recent first."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recllm.baselines.ranking import (
    BaselineRanking,
    popularity_counts,
    popularity_keys,
    rank_by_keys,
)
from recllm.catalog.histories import Spans


@dataclass(frozen=True)
class RecentRepeat:
    """Ranks the items of a history by their last occurrence, then all others by popularity.

    What a recommender must beat where people come back to what they had. Where the history is
    excluded only the others are left: it is popularity then.

    Attributes:
        counts: (items,) int64 training interactions.
    """

    counts: NDArray[np.int64]

    @classmethod
    def fit(cls, sequences: Spans, items: int) -> "RecentRepeat":
        """Count the interactions of training sequences over a catalogue of `items` items."""
        return cls(popularity_counts(sequences, items))

    def rank(
        self,
        histories: Spans,
        targets: NDArray[np.int32],
        beams: int,
        excluded: Spans | None = None,
        only: Spans | None = None,
    ) -> BaselineRanking:
        """Rank the catalogue for each row; see `rank_by_keys`."""
        items = len(self.counts)
        by_popularity = popularity_keys(self.counts)

        def keys_of(rows: slice) -> NDArray[np.int64]:
            asked = histories.select(rows)
            keys = np.tile(by_popularity, (len(asked), 1))
            row, item = asked.flatten()
            place = np.arange(len(row)) - np.repeat(np.cumsum(asked.lengths), asked.lengths)
            recency = place + asked.lengths[row]  # 0 for the oldest item of each history
            np.maximum.at(keys, (row, item), items + recency)
            return keys

        return rank_by_keys(keys_of, items, targets, beams, excluded, only=only)
