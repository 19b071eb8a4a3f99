"""What every split begins and ends in: places in sequences, and the tables of the stage."""

from pathlib import Path
from tempfile import TemporaryDirectory

from recllm.catalog.split_names import HELD_OUT, SPLITS
from recllm.data_prep.splits._sequences import write_sequences
from recllm.data_prep.tables import (
    Column,
    Connection,
    Table,
    materialise,
    read,
    scalars,
    write,
)
from recllm.errors import UserError


def refuse_ready_made(log: Table) -> None:
    """Refuse a log whose histories are ready-made.

    Raises:
        UserError: it is split already.
    """
    if "history" in log.columns:
        raise UserError("this log is split already; set data.split to given")


def read_places(con: Connection, filtered: Path) -> Table:
    """Each interaction that the stage filter left with its place in its sequence.

    Returns:
        The columns of its interactions.parquet; `end`, the place, from 0, and `length`, how many
        the sequence has (int64).
    """
    log = read(con, filtered / "interactions.parquet", place="place")
    found = log.group_by("sequence").aggregate(first=log.place.min(), length=log.count())
    log = log.join(materialise(con, found), "sequence")
    return log.mutate(end=log.place - log["first"]).drop("place", "first")


def may_be_target(log: Table) -> Column:
    """Whether an interaction's behaviour is one to be predicted: all are where nothing is said."""
    import ibis

    return log.is_target if "is_target" in log.columns else ibis.literal(True)


def label_parts(placed: Table) -> tuple[Table, dict[str, int]]:
    """The positions of a log in three parts, all of train before all of valid before all of test.

    Args:
        placed: see `read_places`, with `part`: train, valid or test.

    Returns:
        The positions, and how many interactions would be targets, but are the first of their
        user: `valid_without_history`, `test_without_history`.
    """
    import ibis

    can_be_target = (placed.end > 0) & may_be_target(placed)
    positions = placed.mutate(
        start=0,
        trained=placed.part == "train",
        target_of=ibis.ifelse(can_be_target, placed.part, None),
    )
    first = (placed.end == 0) & may_be_target(placed)
    sums = {f"{name}_without_history": (first & (placed.part == name)).sum() for name in HELD_OUT}
    found = scalars(placed.aggregate(**sums))
    return positions, {name: int(count or 0) for name, count in found.items()}


def write_positions(
    con: Connection, positions: Table, filtered: Path, out: Path, drop_cold: bool = False
) -> dict[str, int]:
    """Write `sequences.parquet` and the three splits, and count them and what is cold.

    An item or a user is cold where it has no training interaction.

    Args:
        positions: one row for each interaction that the stage filter left: sequence, end (its
            place, from 0), row, item, start (of its history), trained: whether it is a training
            interaction, which come before the others of their sequence, and target_of: the split
            that it is a target of, or null.
        filtered: the folder of the stage filter.
        drop_cold: leave out targets of valid and test that are cold items.
    """
    positions = materialise(
        con,
        positions.select(
            "sequence",
            "end",
            "row",
            "item",
            "target_of",
            "trained",
            start=positions.start.cast("int64"),
        ),
    )
    owners = read(con, filtered / "owners.parquet")
    ends = positions.group_by("sequence").aggregate(
        length=positions.count(), train_end=positions.trained.sum()
    )
    ends = materialise(con, ends.cast({"train_end": "int64"}).join(owners, "sequence"))
    with TemporaryDirectory(prefix=".sequences-", dir=out) as folder:
        lengths = Path(folder) / "lengths.parquet"
        write(con, ends.order_by("sequence"), lengths)
        write_sequences(lengths, filtered / "interactions.parquet", out / "sequences.parquet")
    items, users = materialise(con, _by_item(positions)), materialise(con, _by_user(ends))
    for name in SPLITS:
        rows = positions.filter(positions.target_of == name).join(owners, "sequence")
        rows = rows.select("row", "user_id", "sequence", "start", "end", target=rows["item"])
        if name in HELD_OUT:
            rows = _mark_cold(rows, items, users)
            rows = rows.filter(~rows.cold_item) if drop_cold else rows
        write(con, rows.order_by("sequence", "end"), out / f"{name}.parquet")
    return _count(items, users, drop_cold)


def _by_item(positions: Table) -> Table:
    """Of each item, how many targets it is in each split, and whether it is cold."""
    targets = {name: (positions.target_of == name).sum() for name in SPLITS}
    return positions.group_by("item").aggregate(cold=~positions.trained.any(), **targets)


def _by_user(sequences: Table) -> Table:
    """Of each user the number of sequences, and whether the user is cold.

    Args:
        sequences: sequence, user_id, train_end.
    """
    cold = ~(sequences.train_end > 0).any()
    return sequences.group_by("user_id").aggregate(cold=cold, sequences=sequences.count())


def _mark_cold(rows: Table, items: Table, users: Table) -> Table:
    """The rows of a split with `cold_item` and `cold_user`."""
    marked = rows.join(items.select(target=items["item"], cold_item=items.cold), "target")
    marked = marked.join(users.select("user_id", cold_user=users.cold), "user_id")
    return marked.select(*rows.columns, "cold_item", "cold_user")


def _count(items: Table, users: Table, drop_cold: bool) -> dict[str, int]:
    """The rows of each split, what is cold, and what was left out as such."""
    sums = {name: items[name].sum() for name in SPLITS}
    cold = {f"cold_targets_{name}": items[name].sum(where=items.cold) for name in HELD_OUT}
    found = scalars(items.aggregate(**sums, **cold, cold_items=items.cold.sum()))
    found |= scalars(users.aggregate(sequences=users.sequences.sum(), cold_users=users.cold.sum()))
    counts = {name: int(number or 0) for name, number in found.items()}
    if drop_cold:
        for name in HELD_OUT:
            dropped, counts[f"cold_targets_{name}"] = counts[f"cold_targets_{name}"], 0
            counts[f"dropped_cold_targets_{name}"] = dropped
            counts[name] -= dropped
    return counts
