"""The items of a catalogue, in the order of their dense index."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recllm.config.registry import nearest
from recllm.errors import UserError

#: In larger catalogues a wrong id's nearest takes seconds to find.
HINTED = 100_000


@dataclass(frozen=True)
class Items:
    """A table with the column item_id, title and more; row i is the item of dense index i."""

    table: pa.Table

    @classmethod
    def read(cls, path: Path) -> "Items":
        """Read `items.parquet` as the filter stage writes it."""
        return cls(pq.read_table(path))

    def write(self, path: Path) -> None:
        """Write the table, for `read`."""
        pq.write_table(self.table, path)

    def __len__(self) -> int:
        return self.table.num_rows

    def __contains__(self, item_id: object) -> bool:
        """Whether an item has this id."""
        return item_id in self._index

    @cached_property
    def ids(self) -> list[str]:
        """The user's own id of each item."""
        return self.table["item_id"].to_pylist()

    @cached_property
    def titles(self) -> list[str]:
        """The title of each item."""
        return self.table["title"].to_pylist()

    @cached_property
    def _index(self) -> dict[str, int]:
        return {item_id: item for item, item_id in enumerate(self.ids)}

    def index_of(self, item_ids: list[str]) -> list[int]:
        """The dense indices of the user's item ids.

        Raises:
            UserError: an id is not in the catalogue.
        """
        unknown = [i for i in item_ids if i not in self._index]
        if unknown:
            shown = ", ".join(repr(i) for i in unknown[:5])
            close = nearest(unknown[0], self.ids) if len(self) <= HINTED else None
            hint = f"; did you mean {close!r}?" if close else ""
            raise UserError(
                f"{len(unknown)} item id(s) are not in the catalogue of {len(self)} items: "
                f"{shown}{hint}"
            )
        return [self._index[i] for i in item_ids]

    def texts(self) -> list[str]:
        """Title, brand, categories and description of each item in one line."""
        columns = [c for c in ("title", "brand", "categories", "description") if c in self.columns]
        rows = zip(*(self.table[c].to_pylist() for c in columns), strict=True)
        return [" ".join(" ".join(part for part in row if part).split()) for row in rows]

    @property
    def columns(self) -> list[str]:
        """The columns that the table has."""
        return self.table.column_names
