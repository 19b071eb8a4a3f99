"""Several logs as one: users and items of each keep apart by the name of their part."""

import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from recllm.catalog.outside import OUTSIDE_FILE
from recllm.config.plugins import SOURCES
from recllm.data_prep.sources import Source
from recllm.data_prep.tables import Connection, Table, materialise, read, scalars, size, write
from recllm.errors import UserError

#: What a log has in all of its parts or in none: else histories would be made in two ways.
SHARED = ("split", "sequence", "history")
#: Counts that say something of a log as a whole; others are summed.
FACTS = ("order_only", "file_order")


class Several(Source):
    """Logs without a user or an item in common, such as TALLRec's of films and of books.

    One model is trained on all of them, and one catalogue holds their items. The ids of the part
    `film` become `film/…`; a log's order is that of the parts. A rating means what it means in its
    part, so scales should agree.
    """

    parts: dict[str, dict[str, Any]] = Field(
        min_length=2, description="by name, of each log the source and its options"
    )

    @field_validator("parts")
    @classmethod
    def _parts_can_be_read(cls, parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        canonical = {}
        for name, given in parts.items():
            if not name or "/" in name:
                raise ValueError(f"expected a name without a slash, found {name!r}")
            try:
                source = _read_part(given)
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(map(str, (name, *first["loc"])))
                raise ValueError(f"{place}: {first['msg']}") from None
            except UserError as error:
                raise ValueError(f"{name}.source: {error}") from None
            canonical[name] = {"source": source.name, **source.model_dump(mode="json")}
        return canonical

    @cached_property
    def _sources(self) -> dict[str, Source]:
        return {name: _read_part(given) for name, given in self.parts.items()}

    @model_validator(mode="after")
    def _options_are_of_parts(self) -> "Several":
        given = sorted(self.model_fields_set - {"parts"})
        if given:
            raise ValueError(f"{', '.join(given)}: give this in each of the parts, which need it")
        return self

    def identity(self) -> dict[str, Any]:
        """What decides each part."""
        parts = {name: source.identity() for name, source in self._sources.items()}
        return {"source": self.name, "options": {"parts": parts}}

    def input_files(self) -> list[Path]:
        """Those of all parts."""
        return [path for source in self._sources.values() for path in source.input_files()]

    def ingest(self, con: Connection, out: Path) -> dict[str, int]:
        """Read each part, then join their tables; counts are summed.

        Raises:
            UserError: parts differ in whether they have times, or in how they are split.
        """
        with tempfile.TemporaryDirectory(dir=out, prefix="parts-") as folder:
            counts: dict[str, dict[str, int]] = {}
            places = {name: Path(folder) / str(i) for i, name in enumerate(self._sources)}
            for name, source in self._sources.items():
                places[name].mkdir()
                counts[name] = source.ingest(con, places[name])
            for fact in FACTS:
                self._require_alike(fact, {n: bool(c.get(fact)) for n, c in counts.items()})
            for table, order in (("interactions", "row"), ("items", "item_id")):
                found = {
                    name: materialise(con, read(con, place / f"{table}.parquet"))
                    for name, place in places.items()
                }
                if table == "interactions":
                    for column in SHARED:
                        has = {name: column in rows.columns for name, rows in found.items()}
                        self._require_alike(f"the column {column!r}", has)
                    found = _numbered(con, found)
                joined = _joined(found)
                write(con, joined.order_by(order), out / f"{table}.parquet")
            found = _read_some(con, places, OUTSIDE_FILE)
            if found:
                outside = _joined(found).order_by("user_id", "timestamp")
                write(con, outside, out / OUTSIDE_FILE)
            found = _read_some(con, places, "rejects.parquet")
            if found:
                told = {n: t.mutate(file=n + "/" + t.file) for n, t in found.items()}
                joined = _union(list(told.values()))
                write(con, joined.order_by("file", "line", "reason"), out / "rejects.parquet")
        names = dict.fromkeys(name for each in counts.values() for name in each)
        summed = {name: sum(each.get(name, 0) for each in counts.values()) for name in names}
        return summed | {fact: int(summed[fact] > 0) for fact in FACTS if fact in summed}

    @staticmethod
    def _require_alike(what: str, has: Mapping[str, bool]) -> None:
        if len(set(has.values())) > 1:
            with_it = ", ".join(name for name, there in has.items() if there)
            without = ", ".join(name for name, there in has.items() if not there)
            raise UserError(
                f"data.parts: expected logs that are alike in {what.replace('_', ' ')}, found it "
                f"in {with_it} and not in {without}; prepare them alike, or apart"
            )


def _read_part(given: Mapping[str, Any]) -> Source:
    options = dict(given)
    return SOURCES.load(str(options.pop("source", None))).model_validate(options)


def _read_some(con: Connection, places: Mapping[str, Path], name: str) -> dict[str, Table]:
    """The tables of a file that some of the parts have."""
    files = {part: place / name for part, place in places.items()}
    return {part: read(con, file) for part, file in files.items() if file.is_file()}


def _numbered(con: Connection, parts: Mapping[str, Table]) -> dict[str, Table]:
    """The logs with rows, and sequences where they have some, that count on from each other."""
    rows = sequences = 0
    found = {}
    for name, table in parts.items():
        moved = {"row": table.row + rows}
        if "sequence" in table.columns:
            moved["sequence"] = table.sequence + sequences
            last = scalars(table.aggregate(last=table.sequence.max()))["last"]
            sequences += int(last or 0) + 1
        found[name] = table.mutate(**{n: c.cast("int64") for n, c in moved.items()})
        rows += size(con, table)
    return found


def _joined(parts: Mapping[str, Table]) -> Table:
    """All rows, with the part's name before the ids."""
    named = []
    for name, table in parts.items():
        ids = [column for column in ("user_id", "item_id") if column in table.columns]
        named.append(table.mutate(**{column: f"{name}/" + table[column] for column in ids}))
    return _union(named)


def _union(tables: list[Table]) -> Table:
    """The rows of tables of which some have columns that others lack: null there."""
    import ibis

    kinds = {name: kind for table in tables for name, kind in table.schema().items()}
    nothing = {name: ibis.literal(None, type=kind) for name, kind in kinds.items()}
    filled = [
        table.mutate(**{n: null for n, null in nothing.items() if n not in table.columns})
        for table in tables
    ]
    return ibis.union(*(table.select(*kinds) for table in filled))
