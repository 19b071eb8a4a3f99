"""What every split begins and ends in: places in sequences, and the tables of the stage."""

from pathlib import Path

from recllm.data_prep.tables import Connection, Table, materialise, number, scalars, write
from recllm.errors import UserError

SPLITS = ("train", "valid", "test")


def refuse_ready_made(log: Table) -> None:
    """Refuse a log whose histories are ready-made.

    Raises:
        UserError: it is split already.
    """
    if "history" in log.columns:
        raise UserError("this log is split already; set data.split to given")


def number_groups(con: Connection, log: Table, key: str) -> Table:
    """Each interaction with `sequence`, the rank of its `key`, `end`, its place, and `length`.

    A sequence is in the order of timestamp, then row; places count from 0. `is_target` is true
    where the log does not say.
    """
    import ibis

    placed = log.mutate(
        end=ibis.row_number().over(group_by=log[key], order_by=[log.timestamp, log.row]),
        length=log.count().over(group_by=log[key]),
        is_target=log.is_target if "is_target" in log.columns else ibis.literal(True),
    )
    if key == "sequence":
        return placed
    return placed.join(number(con, log.select(key).distinct(), "sequence", [key]), key)


def label_parts(placed: Table) -> tuple[Table, dict[str, int]]:
    """The positions of a log in three parts, all of train before all of valid before all of test.

    Args:
        placed: see `number_groups`, with `part`: train, valid or test.

    Returns:
        The positions, and how many interactions would be targets, but are the first of their
        user: `valid_without_history`, `test_without_history`.
    """
    import ibis

    trained = (placed.part == "train").sum()
    can_be_target = (placed.end > 0) & placed.is_target
    positions = placed.mutate(
        start=0,
        train_end=trained.over(group_by=placed.sequence),
        target_of=ibis.ifelse(can_be_target, placed.part, None),
    )
    first = (placed.end == 0) & placed.is_target
    sums = {f"{name}_without_history": (first & (placed.part == name)).sum() for name in SPLITS[1:]}
    found = scalars(placed.aggregate(**sums))
    return positions, {name: int(count or 0) for name, count in found.items()}


def write_positions(
    con: Connection, positions: Table, out: Path, drop_cold: bool = False
) -> dict[str, int]:
    """Write `sequences.parquet` and the three splits, and count them and what is cold.

    An item or a user is cold where it has no training interaction.

    Args:
        positions: one row for each interaction: sequence, user_id, end (its place, from 0), row,
            item, train_end (of its sequence), start (of its history) and target_of: the split
            that it is a target of, or null.
        drop_cold: leave out targets of valid and test that are cold items.
    """
    columns = ("sequence", "user_id", "end", "row", "item", "train_end", "start", "target_of")
    positions = materialise(con, positions.select(*columns))
    grouped = positions.group_by("sequence").aggregate(
        user_id=positions.user_id.min(),
        items=positions["item"].collect(order_by=positions.end),
        rows=positions.row.collect(order_by=positions.end),
        train_end=positions.train_end.min().cast("int64"),
    )
    sequences = grouped.select("sequence", "user_id", "items", "rows", "train_end")
    write(con, sequences.order_by("sequence"), out / "sequences.parquet")
    counts = scalars(positions.aggregate(sequences=positions.sequence.nunique()))
    trained = positions.filter(positions.end < positions.train_end)
    warm = {
        key: materialise(con, trained.group_by(key).aggregate(training=trained.count()))
        for key in ("item", "user_id")
    }
    cold: dict[str, int] = {}
    for name in SPLITS:
        rows = _rows_of(positions, name)
        if name != "train":
            rows = materialise(con, _mark_cold(rows, warm["item"], warm["user_id"]))
            number_cold = scalars(rows.aggregate(n=rows.cold_item.sum()))["n"]
            cold[f"cold_targets_{name}"] = int(number_cold or 0)
            if drop_cold:
                rows = rows.filter(~rows.cold_item)
                cold[f"dropped_cold_targets_{name}"] = cold[f"cold_targets_{name}"]
                cold[f"cold_targets_{name}"] = 0
        write(con, rows.order_by("sequence", "end"), out / f"{name}.parquet")
        counts |= scalars(rows.aggregate(**{name: rows.count()}))
    for key, name in (("item", "cold_items"), ("user_id", "cold_users")):
        strangers = positions.anti_join(warm[key], key)
        counts |= scalars(strangers.aggregate(**{name: strangers[key].nunique()}))
    return counts | cold


def _rows_of(positions: Table, name: str) -> Table:
    chosen = positions.filter(positions.target_of == name)
    return chosen.select(
        "row",
        "user_id",
        "sequence",
        start=chosen.start.cast("int64"),
        end=chosen.end.cast("int64"),
        target=chosen["item"],
    )


def _mark_cold(rows: Table, warm_items: Table, warm_users: Table) -> Table:
    """The rows of a split with `cold_item` and `cold_user`."""
    items = warm_items.select(target=warm_items["item"], of_item=warm_items.training)
    users = warm_users.select("user_id", of_user=warm_users.training)
    joined = rows.left_join(items, "target").left_join(users, "user_id")
    return joined.select(
        *rows.columns, cold_item=joined.of_item.isnull(), cold_user=joined.of_user.isnull()
    )
