"""Data sources: each reads one kind of log into the interaction and item tables."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from recllm.config.registry import Plugin
from recllm.data_prep.tables import Connection, Table

if TYPE_CHECKING:
    from recllm.data_prep.sources._rejects import Rejects


class Source(Plugin):
    """Base of the sources. Subclasses are one file each and take their options as fields."""

    #: Raise it where the same files and options would now give other tables.
    version: ClassVar[int] = 1

    max_reject_rate: float = Field(
        default=0.0, ge=0, le=1, description="the share of a file's rows that may be set aside"
    )
    missing_items: Literal["keep", "drop"] = Field(
        default="keep", description="items of the log that the items file lacks"
    )

    def input_files(self) -> list[Path]:
        """The files that the log is read from; their contents are part of the stage's key.

        Raises:
            UserError: a file does not exist.
        """
        return []

    def identity(self) -> dict[str, Any]:
        """What decides the log beside the content of its files: the options but for paths."""
        paths = {name for name, value in self if isinstance(value, Path)}
        options = self.model_dump(mode="json", exclude=paths)
        known: dict[str, Any] = {"source": self.name, "options": options}
        if self.missing_items == "drop":
            known["drop"] = 2  # shortens ready-made histories, and keeps held-out targets apart
        return known if self.version == 1 else known | {"version": self.version}

    @abstractmethod
    def ingest(self, con: Connection, out: Path) -> dict[str, int]:
        """Write `interactions.parquet` and `items.parquet` into the folder `out`.

        interactions: row int64, user_id string, item_id string, timestamp int64 (seconds, or
        the position in an order-only log), and where the log has them rating double and behavior
        string. `row` is the log's own order, from 0. A log that is split already also has split
        string (train, valid or test; null for history only) and, where its histories are
        ready-made, sequence and history int64; see `recllm.data_prep.splits.given`.
        items: item_id string, title string, and where known description, categories, brand, sid
        (strings; sid as <a_12><b_200>, not its item's own where the log's SIDs collide). An item
        of the log that the items file lacks gets its id as its title, or its interactions are
        dropped: see `missing_items`.

        Rows that cannot be read or understood are set aside in `rejects.parquet`, up to
        `max_reject_rate`: file string, line int64 (from 1, the one in which the row begins; of a
        file without lines, the row's number), reason string, content string.

        Returns:
            Counts for the manifest: `interactions`, `items`, `rejected_<reason>`, and everything
            else that was dropped or filled in, by reason.

        Raises:
            UserError: a column is missing, a file cannot be read, too many rows are not understood.
        """

    def read_items(self, con: Connection, path: Path, rejects: "Rejects") -> Table:
        """The items of a file that come after the log, under the names of `ingest`.

        Titles may be null.

        Raises:
            UserError: the file cannot be read, lacks the ids, or an id stands in it twice.
        """
        return self._read_items(con, path, rejects, {}, ("item_id", "item"))

    @staticmethod
    def _read_items(
        con: Connection,
        path: Path,
        rejects: "Rejects",
        asked: Mapping[str, str | None],
        usual_ids: tuple[str, ...],
        *,
        others: tuple[str, ...] = (),
    ) -> Table:
        from recllm.data_prep.sources._log import item_columns, read_items

        return read_items(con, path, item_columns(con, path, asked, usual_ids, others), rejects)
