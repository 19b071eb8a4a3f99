"""What every split begins and ends in: places in sequences, and the tables of the stage."""

from pathlib import Path

from recllm.catalog.split_names import HELD_OUT, SPLITS
from recllm.data_prep.tables import (
    Connection,
    Table,
    materialise,
    number,
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


def number_groups(con: Connection, log: Table, key: str) -> Table:
    """Each interaction with `sequence`, the rank of its `key`, `end`, its place, and `length`.

    A sequence is in the order of timestamp, then row; places count from 0. All of a sequence is
    of one user. `is_target` is true where the log does not say.
    """
    import ibis

    # Texts are grouped once; what is sorted, and kept for every interaction, are integers.
    groups = log.group_by(key).aggregate(
        length=log.count(), **({} if key == "user_id" else {"user_id": log.user_id.min()})
    )
    if key != "sequence":
        groups = number(con, groups, "sequence", [key])
        groups = materialise(con, groups)
        log = log.join(groups.select(key, "sequence"), key)
    log = log.drop("user_id")
    order = [log.timestamp, log.row]
    place = ibis.row_number().over(group_by=log.sequence, order_by=order)
    places = log.mutate(end=place)
    if "is_target" not in log.columns:
        places = places.mutate(is_target=ibis.literal(True))
    places = materialise(con, places)
    places = places.mutate(end=places.end.cast("int64"))  # Spark counts in int32
    return places.join(groups, "sequence")


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
    sums = {f"{name}_without_history": (first & (placed.part == name)).sum() for name in HELD_OUT}
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
    owners = materialise(con, positions.filter(positions.end == 0).select("sequence", "user_id"))
    positions = materialise(
        con,
        positions.select(
            "sequence",
            "end",
            "row",
            "item",
            "target_of",
            start=positions.start.cast("int64"),
            trained=positions.end < positions.train_end,
        ),
    )
    sequences = _sequences(positions).join(owners, "sequence")
    sequences = sequences.select("sequence", "user_id", "items", "rows", "train_end")
    write(con, sequences.order_by("sequence"), out / "sequences.parquet")
    items = materialise(con, _by_item(positions))
    users = materialise(con, _by_user(read(con, out / "sequences.parquet")))
    for name in SPLITS:
        rows = positions.filter(positions.target_of == name).join(owners, "sequence")
        rows = rows.select("row", "user_id", "sequence", "start", "end", target=rows["item"])
        if name in HELD_OUT:
            rows = _mark_cold(rows, items, users)
            rows = rows.filter(~rows.cold_item) if drop_cold else rows
        write(con, rows.order_by("sequence", "end"), out / f"{name}.parquet")
    return _count(items, users, drop_cold)


def _sequences(positions: Table) -> Table:
    """The items and rows of each sequence as lists, and how many of them are trained on."""
    import ibis

    place = ibis.struct({name: positions[name] for name in ("end", "item", "row")})
    grouped = positions.group_by("sequence").aggregate(
        places=place.collect().sort(),
        train_end=positions.count(where=positions.trained),
    )
    return grouped.mutate(
        items=grouped.places.map(lambda place: place["item"]),
        rows=grouped.places.map(lambda place: place["row"]),
    )


def _by_item(positions: Table) -> Table:
    """Of each item, how many targets it is in each split, and whether it is cold."""
    targets = {name: (positions.target_of == name).sum() for name in SPLITS}
    return positions.group_by("item").aggregate(cold=~positions.trained.any(), **targets)


def _by_user(sequences: Table) -> Table:
    """Of each user the number of sequences, and whether the user is cold."""
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
