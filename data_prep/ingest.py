"""The stage `ingest`: a source's log as two tables, checked."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recllm.artifacts.manifest import hash_file
from recllm.artifacts.stage import Stage
from recllm.data_prep.engines.java import require_spark
from recllm.data_prep.tables import Connection, read, scalars, session
from recllm.errors import UserError

INTERACTIONS = {
    "row": pa.int64(),
    "user_id": pa.string(),
    "item_id": pa.string(),
    "timestamp": pa.int64(),
}
#: `split`, `sequence` and `history` come with logs that are split already: see splits/given.py.
OPTIONAL_INTERACTIONS = {
    "rating": pa.float64(),
    "behavior": pa.string(),
    "split": pa.string(),
    "sequence": pa.int64(),
    "history": pa.int64(),
}
ITEMS = {"item_id": pa.string(), "title": pa.string()}


class Ingest(Stage):
    """Runs the recipe's data source."""

    name = "ingest"
    version = 2  # sets rows aside that cannot be understood

    def settings(self) -> dict[str, Any]:
        """The source, its options but for paths, and the content of the files at those paths.

        The engine is not among them, nor is it in those of filter and split: both engines give
        the same tables, row for row (tests/data_prep/test_spark.py), so that what one has made
        need not be made again on the other.
        """
        source = self.recipe.data.source
        return {**source.identity(), "files": self._files}

    def check(self) -> None:
        """Refuse an engine that cannot be had here."""
        if self.recipe.data.engine == "spark":
            require_spark()

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write `interactions.parquet` and `items.parquet`; see `recllm.data_prep.sources`."""
        with session(self.recipe.data) as con:
            counts = self.recipe.data.source.ingest(con, out)
            if not counts["interactions"]:
                names = ", ".join(map(str, self.recipe.data.source.input_files())) or "the log"
                raise UserError(f"{names}: no interactions were found; check data.path")
            check_tables(con, out)
        return counts

    @cached_property
    def _files(self) -> list[list[str]]:
        return [[path.name, hash_file(path)] for path in self.recipe.data.source.input_files()]


def check_tables(con: Connection, folder: Path) -> None:
    """Hold a source's tables to their schema.

    Raises:
        ValueError: a table breaks it: the source has a bug.
    """
    log, items = folder / "interactions.parquet", folder / "items.parquet"
    _check_columns(log, INTERACTIONS, OPTIONAL_INTERACTIONS)
    _check_columns(items, ITEMS, None)
    log_table, item_table = read(con, log), read(con, items)
    facts = {f"null {name}": _nulls(log, name) for name in INTERACTIONS}
    facts |= {f"null item {name}": _nulls(items, name) for name in ITEMS}
    facts |= scalars(
        item_table.aggregate(items=item_table.count(), ids=item_table.item_id.nunique())
    )
    orphans = log_table.anti_join(item_table, "item_id")
    facts["unknown items"] = scalars(orphans.aggregate(n=orphans.count()))["n"]
    if not _counts_from_zero(log):
        raise ValueError(f"{log}: row must count from 0, in the order of the file")
    if facts["items"] != facts["ids"]:
        raise ValueError(f"{items}: item_id must be unique")
    for fact, number in facts.items():
        if fact.startswith(("null", "unknown")) and number:
            raise ValueError(f"{folder}: {number} × {fact}")


def _nulls(path: Path, name: str) -> int:
    """How many nulls a column of a file has: the file says so itself, mostly."""
    told = pq.read_metadata(path)
    column = pq.read_schema(path).names.index(name)
    groups = [told.row_group(n).column(column).statistics for n in range(told.num_row_groups)]
    if all(group is not None and group.has_null_count for group in groups):
        return sum(group.null_count for group in groups)
    return pq.read_table(path, columns=[name])[name].null_count


def _counts_from_zero(log: Path) -> bool:
    """Whether `row` is 0, 1, 2, … down the file."""
    before = 0
    with pq.ParquetFile(log) as file:
        for batch in file.iter_batches(columns=["row"]):
            rows = batch["row"].to_numpy(zero_copy_only=False)
            if not np.array_equal(rows, np.arange(before, before + len(rows))):
                return False
            before += len(rows)
    return True


def _check_columns(
    path: Path, required: dict[str, pa.DataType], optional: dict[str, pa.DataType] | None
) -> None:
    found = {field.name: field.type for field in pq.read_schema(path)}
    expected = required | (optional if optional is not None else dict.fromkeys(found, pa.string()))
    wrong = {name: type_ for name, type_ in found.items() if expected.get(name) != type_}
    missing = required.keys() - found.keys()
    if wrong or missing:
        raise ValueError(f"{path}: wrong columns {wrong}, missing columns {sorted(missing)}")
