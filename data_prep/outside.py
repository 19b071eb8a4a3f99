"""Finds the held-out rows whose target is not in the catalogue; see `recllm.catalog.outside`.

Only a log that the user split has such rows: other splits are made of what the filter left. The
stage ingest writes those that it drops, with their timestamp, and the stage filter all.
"""

from pathlib import Path

from recllm.catalog.outside import OUTSIDE_FILE
from recllm.catalog.split_names import HELD_OUT
from recllm.data_prep.tables import Connection, Table, materialise, read, scalars, write


def held_out(log: Table) -> Table:
    """The labelled valid and test interactions of some that left the log."""
    kept = log.filter(log.split.isin(HELD_OUT))
    # places, which are the times of a log without any, are int32 on Spark
    return kept.select("user_id", "split", timestamp=kept.timestamp.cast("int64"))


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
