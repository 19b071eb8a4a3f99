"""The stage `filter`: conditions, k-core, and the dense index of the items that are left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recllm.artifacts.stage import Stage
from recllm.config.schema import DataSection
from recllm.config.times import to_seconds
from recllm.data_prep.conditions import describe_size, meet_conditions
from recllm.data_prep.core import core_ids
from recllm.data_prep.logs import is_order_only
from recllm.data_prep.tables import (
    Connection,
    Table,
    materialise,
    number,
    read,
    scalars,
    session,
    write,
)
from recllm.errors import UserError

#: The settings of `meet_conditions`.
CONDITIONS = (
    "history_behaviors",
    "target_behaviors",
    "min_rating",
    "since",
    "until",
    "min_title_length",
    "repeats",
)


class Filter(Stage):
    """Leaves out what fails the recipe's conditions, then users and items with too little left."""

    name = "filter"
    version = 2  # behaviours, times, titles and repeats; counts history-only interactions
    parents = ("ingest",)

    def settings(self) -> dict[str, Any]:
        """The conditions and the core's k."""
        data = self.recipe.data
        times = {"since": data.since, "until": data.until}
        behaviors = (data.history_behaviors, data.target_behaviors)
        return {
            "user_k": data.core[0],
            "item_k": data.core[1],
            "min_rating": data.min_rating,
            **{name: None if time is None else to_seconds(time) for name, time in times.items()},
            "min_title_length": data.min_title_length,
            "repeats": data.repeats,
            "behaviors": [None if names is None else sorted(set(names)) for names in behaviors],
        }

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write what is left, with the items numbered in the order of their ids.

        interactions.parquet: row (as ingested, with gaps), user_id, item int32, timestamp and
        whatever else the log has; is_target, false where an interaction is history only, where
        the recipe's behaviours say so; in the order of row. items.parquet: item int32, item_id,
        title, …; the items that occur, in the order of item.
        """
        data = self.recipe.data
        with session(data) as con:
            log = read(con, inputs["ingest"] / "interactions.parquet")
            items = read(con, inputs["ingest"] / "items.parquet")
            counts = {"interactions_before": _count(log), "items_before": _count(items)}
            if "history" in log.columns:
                _refuse_filters(data)
            log, left_out = meet_conditions(con, log, items, data, is_order_only(inputs["ingest"]))
            counts |= left_out
            size, sizes = _count(log), {}
            used = log.select("item_id").distinct()
            if max(data.core) > 1:
                log, used, sizes = _in_core(con, log, *data.core)
            counts |= _write(con, log, items, used, out)
            if max(data.core) > 1:
                counts["interactions_below_k_core"] = size - counts["interactions"]
            return counts | (sizes or _sizes(con, out))


def _in_core(
    con: Connection, log: Table, user_k: int, item_k: int
) -> tuple[Table, Table, dict[str, int]]:
    """The interactions of the k-core, the ids of its items, and how many users and items it has."""
    users, items = core_ids(con, log, user_k, item_k)
    kept_users, kept_items = users.filter(users.kept), items.filter(items.kept)
    found = {"users": _count(kept_users), "items": _count(kept_items)}
    if not found["items"]:
        raise UserError(_nothing_in_core(log, user_k, item_k))
    below = {
        "users_below_k_core": _count(users) - found["users"],
        "items_below_k_core": _count(items) - found["items"],
    }
    return log.semi_join(kept_users, "user_id"), kept_items.select("item_id"), below | found


def _nothing_in_core(log: Table, user_k: int, item_k: int) -> str:
    if user_k == item_k:
        return (
            f"k-core {user_k} removes all of the {describe_size(log)}: no group of users and items "
            f"has {user_k} interactions each; lower data.k_core"
        )
    return (
        f"user_k {user_k} and item_k {item_k} remove all of the {describe_size(log)}: in no part "
        f"of the log has every user {user_k} interactions and every item {item_k}; "
        "lower data.user_k or data.item_k"
    )


def _write(con: Connection, log: Table, items: Table, used: Table, out: Path) -> dict[str, int]:
    """Write the interactions with the items in `used` (item_id), and those items."""
    index = number(con, items.semi_join(used, "item_id"), "item", ["item_id"])
    index = materialise(con, index.mutate(item=index["item"].cast("int32")))
    others = [name for name in items.columns if name != "item_id"]
    write(con, index.select("item", "item_id", *others).order_by("item"), out / "items.parquet")
    extra = [name for name in log.columns if name not in ("row", "user_id", "item_id", "timestamp")]
    log = log.join(index.select("item_id", "item"), "item_id")
    log = log.select("row", "user_id", "item", "timestamp", *extra).order_by("row")
    write(con, log, out / "interactions.parquet")
    written = read(con, out / "interactions.parquet")
    counts = {"interactions": _count(written)}
    if "is_target" in written.columns:
        counts |= scalars(written.aggregate(history_only=(~written.is_target).sum()))
    return counts


def _sizes(con: Connection, out: Path) -> dict[str, int]:
    written, items = read(con, out / "interactions.parquet"), read(con, out / "items.parquet")
    users = scalars(written.aggregate(users=written.user_id.nunique()))
    return users | {"items": _count(items)}


def _refuse_filters(data: DataSection) -> None:
    """Refuse to filter ready-made histories, of which nothing can be left out.

    Raises:
        UserError: the recipe filters.
    """
    fields = type(data).model_fields
    asked = [name for name in CONDITIONS if getattr(data, name) != fields[name].default]
    if max(data.core) > 1:
        cores = ("user_k", "item_k")
        asked = [*(name for name in cores if getattr(data, name) is not None), *asked]
    elif not asked:
        return
    advice = ["set data.k_core to 0"] if max(data.core) > 1 else []
    advice += [f"leave out {', '.join(f'data.{name}' for name in asked)}"] if asked else []
    raise UserError("ready-made histories cannot be filtered; " + " and ".join(advice))


def _count(table: Table) -> int:
    return scalars(table.aggregate(n=table.count()))["n"]
