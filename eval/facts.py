"""What scoring needs beside the predictions: histories, popularity, SIDs, baselines."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.baselines.ranking import BaselineRanking, popularity_counts
from recllm.catalog.histories import Sequences, SplitRows
from recllm.catalog.split_names import SplitName
from recllm.errors import UserError
from recllm.eval.baselines_stage import read_baselines


@dataclass(frozen=True)
class Facts:
    """Facts about the rows of the predictions, in their order, and about the catalogue.

    Attributes:
        history_lengths: (rows,) int64.
        popularity: (items,) int64, the training interactions of each item.
        codes: (items, depth) int32, see `ItemIndex.prefixes`.
        baselines: by name, the rank of each row's target and the first items of its list.
    """

    history_lengths: NDArray[np.int64]
    popularity: NDArray[np.int64]
    codes: NDArray[np.int32]
    baselines: Mapping[str, BaselineRanking]

    @classmethod
    def read(
        cls,
        split_folder: Path,
        baselines_folder: Path,
        split: SplitName,
        rows: NDArray[np.int64],
        codes: NDArray[np.int32],
    ) -> "Facts":
        """Gather the facts about some rows of a split.

        Args:
            split_folder: the artifact of the split stage.
            baselines_folder: the artifact of the baselines stage.
            rows: (rows,) the log rows of the predictions.
            codes: (items, depth) see `ItemIndex.prefixes`.

        Raises:
            UserError: a row is not in the split, or a baseline has not ranked it.
        """
        sequences = Sequences.read(split_folder)
        known = SplitRows.read(split_folder, split, sequences)
        baselines: dict[str, BaselineRanking] = {}
        for name, found in read_baselines(baselines_folder, split).items():
            order = align(found.row, rows)
            ranking = found.ranking
            baselines[name] = BaselineRanking(ranking.ranks[order], ranking.items[order])
        return cls(
            history_lengths=known.histories.lengths[align(known.row, rows)],
            popularity=popularity_counts(sequences.training, len(codes)),
            codes=codes,
            baselines=baselines,
        )


def align(known: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """(wanted,) where each wanted log row stands in `known`, whose rows are distinct.

    Raises:
        UserError: a wanted row is not in `known`.
    """
    order = np.argsort(known, kind="stable")
    place: NDArray[Any] = np.searchsorted(known, wanted, sorter=order)
    position = order[np.minimum(place, len(known) - 1)] if len(known) else place
    missing = known[position] != wanted if len(known) else np.ones(len(wanted), dtype=bool)
    if missing.any():
        raise UserError(
            f"expected predictions for rows of the split, found {int(missing.sum())} other row(s), "
            f"such as {int(wanted[missing][0])}; evaluate on the split of the same recipe"
        )
    return position
