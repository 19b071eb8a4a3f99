"""What a checkpoint recommends for each row of a split, as arrays."""

from dataclasses import dataclass, field
from typing import Any

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
        outside: (others,) int32, the user of each further row, whose target is not in the
            catalogue: nothing was asked for it, and it is a miss.
    """

    row: NDArray[np.int64]
    users: NDArray[np.int32]
    targets: NDArray[np.int32]
    ranks: NDArray[np.int32]
    items: NDArray[np.int32]
    invalid: NDArray[np.int64]
    outside: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    def __post_init__(self) -> None:
        if not np.array_equal(ranks_of(self.items, self.targets), self.ranks):
            raise ValueError("the ranks of the predictions are not those of their items")

    @classmethod
    def from_table(cls, table: pa.Table, items: Items) -> "Predictions":
        """The rows of a table with the columns of `predictions.parquet`.

        Raises:
            UserError: an item id is not in the catalogue.
        """
        users, is_in = _codes(table["user_id"]), table["target"].to_numpy() >= 0
        table = table.filter(pa.array(is_in))
        return cls(
            row=table["row"].to_numpy(),
            users=users[is_in],
            outside=users[~is_in],
            targets=table["target"].to_numpy(),
            ranks=table["rank"].to_numpy(),
            items=_dense(table["item_ids"], items),
            invalid=table["invalid"].to_numpy().astype(np.int64),
        )

    def __len__(self) -> int:
        """The rows that were asked."""
        return len(self.row)

    @property
    def all_users(self) -> NDArray[np.int32]:
        """The user of each row, those that were asked before the others."""
        return np.concatenate([self.users, self.outside])

    @property
    def invalid_rate(self) -> float:
        """The share of the listed items that should not be there; 0 where nothing is listed."""
        listed = int(np.count_nonzero(self.items >= 0))
        return int(self.invalid.sum()) / listed if listed else 0.0


def outside_rows(user_ids: list[str], schema: pa.Schema) -> pa.Table:
    """Rows of `predictions.parquet` for targets that are not in the catalogue: row and target -1.

    Args:
        user_ids: the user of each.
    """
    values = {"row": -1, "target": -1, "rank": -1, "item_ids": [], "scores": [], "invalid": 0}
    rows = [{"user_id": user_id, **values} for user_id in user_ids]
    return pa.Table.from_pylist(rows, schema)


def with_misses(ranks: NDArray[Any], others: int) -> NDArray[Any]:
    """Ranks, and those of further rows after them, which are misses."""
    return np.append(ranks, np.full(others, -1, dtype=ranks.dtype))


def _codes(column: pa.ChunkedArray) -> NDArray[np.int32]:
    return column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int32)


def _dense(lists: pa.ChunkedArray, items: Items) -> NDArray[np.int32]:
    """(rows, longest list, at least 1) item indices, shorter lists filled up with -1."""
    found = items.index_of(lists.combine_chunks().flatten().to_pylist())
    return pad(np.asarray(found, dtype=np.int32), list_lengths(lists))
