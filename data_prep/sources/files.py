"""A log of one's own: CSV, TSV, JSON lines or Parquet, plain or gzipped."""

from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from recllm.data_prep.sources import Source
from recllm.data_prep.sources._log import (
    TEXT_COLUMNS,
    choose,
    read_interactions,
    require,
    write_log,
)
from recllm.data_prep.sources._reading import (
    column_names,
    existing,
    find_table,
    require_table,
)
from recllm.data_prep.sources._rejects import Rejects
from recllm.data_prep.tables import Connection, Table
from recllm.errors import UserError

#: Columns of the item table that have a meaning of their own.
RESERVED = ("row", "item", "item_id", "title", *TEXT_COLUMNS, "sid")

USUAL = {
    "user": ("user_id", "user"),
    "item": ("item_id", "item"),
    "time": ("timestamp", "time"),
    "position": ("position",),
    "rating": ("rating",),
    "behavior": ("behavior", "behaviour", "event", "event_type"),
    "split": ("split",),
}


class _Columns(BaseModel):
    """The user's names for the standard columns; those left out go by their usual names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str | None = None
    item: str | None = None
    time: str | None = Field(default=None, description="seconds since 1970, or ISO dates")
    position: str | None = Field(default=None, description="where the log has an order, no times")
    rating: str | None = None
    behavior: str | None = Field(default=None, description="view, cart, buy …")
    split: str | None = Field(default=None, description="train, valid or test; for split: given")
    item_id: str | None = Field(default=None, description="in the items file")
    title: str | None = None
    description: str | None = None
    categories: str | None = None
    brand: str | None = None

    @model_validator(mode="after")
    def _time_or_position(self) -> "_Columns":
        if self.time and self.position:
            raise ValueError("give 'time' or 'position', not both")
        return self


class Files(Source):
    """Interactions from one file and, where there is one, items from another.

    Without a time and a position, the file's own order is the order of the interactions.
    """

    path: Path = Field(description="a file, or a folder with interactions.* and items.*")
    items: Path | None = Field(default=None, description="a file; without it, ids are titles")
    columns: _Columns = _Columns()
    item_columns: tuple[str, ...] = Field(
        default=(), description="others of the items file to keep, for tasks that name them"
    )

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `item_columns` where none is kept: such a log is the same as before the key."""
        values: dict[str, Any] = dump(self)
        if not values.get("item_columns"):
            values.pop("item_columns", None)
        return values

    @field_validator("item_columns")
    @classmethod
    def _columns_are_others(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = [name for name in names if name in RESERVED]
        if known:
            raise ValueError(
                f"{', '.join(known)}: a name of the tables' own; leave it out here, and where "
                "another column of the file is meant, name that with data.columns"
            )
        if len(set(names)) < len(names):
            raise ValueError(f"expected different names, found {', '.join(names)}")
        return names

    def input_files(self) -> list[Path]:
        """The interactions, then the items where there are some."""
        log, items = self._paths()
        return [log] if items is None else [log, items]

    def ingest(self, con: Connection, out: Path) -> dict[str, int]:
        """Read, check and write both tables."""
        log, items_path = self._paths()
        if self.item_columns and items_path is None:
            raise UserError(
                f"data.item_columns names {', '.join(self.item_columns)}, but there is no items "
                "file; give one (data.items), or leave the columns out"
            )
        rejects = Rejects(self.max_reject_rate)
        chosen = self._interaction_columns(log, column_names(con, log))
        interactions, counts = read_interactions(con, log, chosen, rejects)
        items = None
        if items_path is not None:
            items = self.read_items(con, items_path, rejects)
        kept = self.item_columns if items is not None else ()
        counts |= write_log(con, interactions, items, out, self.missing_items, others=kept)
        return counts | rejects.write(con, out)

    def read_items(self, con: Connection, path: Path, rejects: Rejects) -> Table:
        """As the base class, with the user's names for the columns."""
        usual_ids = ("item_id", *([self.columns.item] if self.columns.item else []), "item")
        asked = self.columns.model_dump()
        return self._read_items(con, path, rejects, asked, usual_ids, others=self.item_columns)

    def _paths(self) -> tuple[Path, Path | None]:
        path = existing(self.path)
        items = existing(self.items) if self.items else None
        if items is not None and items.is_dir():
            raise UserError(f"data.items: expected a file, found the folder {items}")
        if not path.is_dir():
            return path, items
        return require_table(path, "interactions"), items or find_table(path, "items")

    def _interaction_columns(self, path: Path, found: list[str]) -> dict[str, str]:
        asked = self.columns
        chosen = {
            "user_id": require(path, found, "user", asked.user, USUAL["user"]),
            "item_id": require(path, found, "item", asked.item, USUAL["item"]),
        }
        order = ("position", "time") if asked.position else ("time", "position")
        for role in (*order, "rating", "behavior", "split"):
            column = choose(path, found, role, getattr(asked, role), USUAL[role])
            if column and not (role == order[1] and order[0] in chosen):
                chosen[role] = column
        return chosen
