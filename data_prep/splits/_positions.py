"""What every split ends in: labelled places in sequences, written as the tables of the stage."""

from pathlib import Path
from typing import TYPE_CHECKING

from recllm.data_prep.tables import Table, materialise, scalars, write

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend

SPLITS = ("train", "valid", "test")


def number_groups(log: Table, key: str) -> Table:
    """Each interaction with `sequence`, the rank of its `key`, `end`, its place, and `length`.

    A sequence is in the order of timestamp, then row; places count from 0.
    """
    import ibis

    groups = log.select(key).distinct()
    groups = groups.mutate(sequence=ibis.row_number().over(order_by=groups[key]))
    placed = log.mutate(
        end=ibis.row_number().over(group_by=log[key], order_by=[log.timestamp, log.row]),
        length=log.count().over(group_by=log[key]),
    )
    if key == "sequence":
        return placed
    return placed.join(groups, key)


def write_positions(con: "Backend", positions: Table, out: Path) -> dict[str, int]:
    """Write `sequences.parquet` and the three splits.

    Args:
        positions: one row for each interaction: sequence, user_id, end (its place, from 0), row,
            item, train_end (of its sequence), start (of its history) and target_of: the split
            that it is a target of, or null.
    """
    positions = materialise(con, positions)
    grouped = positions.group_by("sequence").aggregate(
        user_id=positions.user_id.min(),
        items=positions["item"].collect(order_by=positions.end),
        rows=positions.row.collect(order_by=positions.end),
        train_end=positions.train_end.min().cast("int64"),
    )
    sequences = grouped.select("sequence", "user_id", "items", "rows", "train_end")
    write(con, sequences.order_by("sequence"), out / "sequences.parquet")
    total = scalars(positions.aggregate(sequences=positions.sequence.nunique()))
    counts = {"sequences": total["sequences"]}
    for name in SPLITS:
        chosen = positions.filter(positions.target_of == name)
        chosen = chosen.select(
            "row",
            "user_id",
            "sequence",
            start=chosen.start.cast("int64"),
            end=chosen.end.cast("int64"),
            target=chosen["item"],
        )
        write(con, chosen.order_by("sequence", "end"), out / f"{name}.parquet")
        counts[name] = scalars(chosen.aggregate(n=chosen.count()))["n"]
    return counts
