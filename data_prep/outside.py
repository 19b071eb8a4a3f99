"""Held-out rows whose target is not in the catalogue: nothing can rank it, so each is a miss.

Only a log that the user split has such rows: other splits are made of what the filter left.
"""

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from recllm.catalog.split_names import HELD_OUT, SplitName
from recllm.data_prep.tables import Connection, Table, materialise, read, scalars, write

#: user_id string, split string, one row for each such target; of the stage ingest also timestamp.
OUTSIDE_FILE = "outside.parquet"


def read_outside(folder: Path, split: SplitName) -> list[str]:
    """The user of each target of a split that is not in the catalogue.

    Args:
        folder: that of the filter stage.
    """
    path = folder / OUTSIDE_FILE
    if not path.is_file():
        return []
    return pq.read_table(path, filters=pc.field("split") == split)["user_id"].to_pylist()


def held_out(log: Table) -> Table:
    """The labelled valid and test interactions of some that left the log."""
    return log.filter(log.split.isin(HELD_OUT)).select("user_id", "split", "timestamp")


def with_history(outside: Table, log: Table, owners: Table) -> Table:
    """Those rows whose user has an interaction in what is left of the log, at that time or before.

    Args:
        outside: see `held_out`.
        log: what is left, with `sequence` and `timestamp`.
        owners: sequence, user_id.
    """
    first = log.group_by("sequence").aggregate(first=log.timestamp.min())
    known = outside.join(first.join(owners, "sequence").select("user_id", "first"), "user_id")
    return known.filter(known.timestamp >= known["first"])


def write_outside(con: Connection, outside: Table, folder: Path) -> dict[str, int]:
    """Write the rows for `read_outside`; how many there are of each split."""
    write(con, outside.select("user_id", "split").order_by("user_id"), folder / OUTSIDE_FILE)
    written = read(con, folder / OUTSIDE_FILE)
    sums = {f"outside_catalogue_{name}": (written.split == name).sum() for name in HELD_OUT}
    return {name: int(n or 0) for name, n in scalars(written.aggregate(**sums)).items()}


def left_out_before(con: Connection, ingested: Path, outside: Table) -> Table:
    """`outside` and the rows that the stage ingest wrote."""
    path = ingested / OUTSIDE_FILE
    return materialise(con, outside.union(read(con, path))) if path.is_file() else outside
