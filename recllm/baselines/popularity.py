"""The most popular items, the same for everyone."""

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
class Popularity:
    """Ranks items by their number of training interactions, ties by item index.

    Attributes:
        counts: (items,) int64.
    """

    counts: NDArray[np.int64]

    @classmethod
    def fit(cls, sequences: Spans, items: int) -> "Popularity":
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
        """Rank the catalogue for each row; see `rank_by_keys`. Histories do not matter."""
        keys = popularity_keys(self.counts)

        def keys_of(rows: slice) -> NDArray[np.int64]:
            return np.tile(keys, (len(histories.starts[rows]), 1))

        return rank_by_keys(keys_of, len(keys), targets, beams, excluded, only=only)
