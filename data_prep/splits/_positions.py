"""What every split ends in: labelled places in sequences, written as the tables of the stage."""

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


def number_groups(log: Table, key: str) -> Table:
    """Each interaction with `sequence`, the rank of its `key`, `end`, its place, and `length`.

    A sequence is in the order of timestamp, then row; places count from 0. All of a sequence is
    of one user.
    """
    import ibis

    con = log.get_backend()
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
    places = log.mutate(end=ibis.row_number().over(group_by=log.sequence, order_by=order))
    return materialise(con, places).join(groups, "sequence")


def write_positions(con: Connection, positions: Table, out: Path) -> dict[str, int]:
    """Write `sequences.parquet` and the three splits, and count them and what is cold.

    An item or a user is cold where it has no training interaction.

    Args:
        positions: one row for each interaction: sequence, user_id, end (its place, from 0), row,
            item, train_end (of its sequence), start (of its history) and target_of: the split
            that it is a target of, or null.
    """
    import ibis

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
    place = ibis.struct({name: positions[name] for name in ("end", "item", "row")})
    grouped = positions.group_by("sequence").aggregate(
        places=place.collect().sort(),
        train_end=positions.count(where=positions.trained),
    )
    lists = {
        "items": grouped.places.map(lambda place: place["item"]),
        "rows": grouped.places.map(lambda place: place["row"]),
    }
    sequences = grouped.mutate(**lists).join(owners, "sequence")
    sequences = sequences.select("sequence", "user_id", "items", "rows", "train_end")
    write(con, sequences.order_by("sequence"), out / "sequences.parquet")
    for name in SPLITS:
        chosen = positions.filter(positions.target_of == name).join(owners, "sequence")
        chosen = chosen.select("row", "user_id", "sequence", "start", "end", target=chosen["item"])
        write(con, chosen.order_by("sequence", "end"), out / f"{name}.parquet")
    return _count(positions) | _count_users(read(con, out / "sequences.parquet"))


def _count(positions: Table) -> dict[str, int]:
    """How many rows the splits have, how many items are cold, and how many targets are these."""
    targets = {name: (positions.target_of == name).sum() for name in SPLITS}
    trained = positions.trained.any()
    items = positions.group_by("item").aggregate(trained=trained, **targets)
    cold = ~items.trained
    found = scalars(
        items.aggregate(
            **{name: items[name].sum() for name in SPLITS},
            cold_items=cold.sum(),
            **{f"cold_targets_{name}": items[name].sum(where=cold) for name in HELD_OUT},
        )
    )
    return {name: int(number or 0) for name, number in found.items()}


def _count_users(sequences: Table) -> dict[str, int]:
    """How many sequences there are, and how many users are cold."""
    trained = (sequences.train_end > 0).any()
    users = sequences.group_by("user_id").aggregate(trained=trained, sequences=sequences.count())
    found = scalars(users.aggregate(sequences=users.sequences.sum(), cold=(~users.trained).sum()))
    return {"sequences": int(found["sequences"] or 0), "cold_users": int(found["cold"] or 0)}
