"""What every split ends in: labelled places in sequences, written as the tables of the stage."""

from pathlib import Path

from recllm.catalog.split_names import HELD_OUT, SPLITS
from recllm.data_prep.tables import Connection, Table, materialise, scalars, write
from recllm.errors import UserError


def refuse_ready_made(log: Table) -> None:
    """Refuse a log whose histories are ready-made.

    Raises:
        UserError: it is split already.
    """
    if "history" in log.columns:
        raise UserError("this log is split already; set data.split to given")


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


def write_positions(con: Connection, positions: Table, out: Path) -> dict[str, int]:
    """Write `sequences.parquet` and the three splits, and count them and what is cold.

    An item or a user is cold where it has no training interaction.

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
    return counts | _count_cold(positions)


def _count_cold(positions: Table) -> dict[str, int]:
    """How many users and items have no training interaction, and how many targets such items."""
    trained = positions.filter(positions.end < positions.train_end)
    cold = positions.anti_join(trained, "item")
    found = scalars(
        cold.aggregate(
            cold_items=cold["item"].nunique(),
            **{f"cold_targets_{name}": (cold.target_of == name).sum() for name in HELD_OUT},
        )
    )
    strangers = positions.anti_join(trained, "user_id")
    found |= scalars(strangers.aggregate(cold_users=strangers.user_id.nunique()))
    return {name: int(number or 0) for name, number in found.items()}
