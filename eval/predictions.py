"""What a checkpoint recommends for each row of a split, as arrays."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recllm.catalog.items import Items
from recllm.eval.padding import list_lengths, pad
from recllm.metrics.ranking import ranks_of


@dataclass(frozen=True)
class Predictions:
    """The rows of `predictions.parquet`, the user's ids replaced by indices.

    Attributes:
        row: (rows,) int64, the log row of each target.
        users: (rows,) int32, equal for rows of the same user.
        targets: (rows,) int32.
        ranks: (rows,) int32, 0-based, -1 where the target is not among the items.
        items: (rows, beams) int32, best first, -1 where fewer items were eligible.
        invalid: (rows,) int64, how many of the row's items should not be there.
    """

    row: NDArray[np.int64]
    users: NDArray[np.int32]
    targets: NDArray[np.int32]
    ranks: NDArray[np.int32]
    items: NDArray[np.int32]
    invalid: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not np.array_equal(ranks_of(self.items, self.targets), self.ranks):
            raise ValueError("the ranks of the predictions are not those of their items")

    @classmethod
    def from_table(cls, table: pa.Table, items: Items) -> "Predictions":
        """The rows of a table with the columns of `predictions.parquet`.

        Raises:
            UserError: an item id is not in the catalogue.
        """
        return cls(
            row=table["row"].to_numpy(),
            users=_codes(table["user_id"]),
            targets=table["target"].to_numpy(),
            ranks=table["rank"].to_numpy(),
            items=_dense(table["item_ids"], items),
            invalid=table["invalid"].to_numpy().astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.row)

    @property
    def invalid_rate(self) -> float:
        """The share of the listed items that should not be there; 0 where nothing is listed."""
        listed = int(np.count_nonzero(self.items >= 0))
        return int(self.invalid.sum()) / listed if listed else 0.0


def _codes(column: pa.ChunkedArray) -> NDArray[np.int32]:
    return column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int32)


def _dense(lists: pa.ChunkedArray, items: Items) -> NDArray[np.int32]:
    """(rows, longest list, at least 1) item indices, shorter lists filled up with -1."""
    found = items.index_of(lists.combine_chunks().flatten().to_pylist())
    return pad(np.asarray(found, dtype=np.int32), list_lengths(lists))
