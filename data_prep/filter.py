"""The stage `filter`: conditions, k-core, and the dense index of the items that are left."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from recllm.artifacts.stage import Stage
from recllm.config.schema import DataSection
from recllm.config.times import to_seconds
from recllm.data_prep.conditions import describe_size, meet_conditions
from recllm.data_prep.core import encode, k_core
from recllm.data_prep.logs import is_order_only
from recllm.data_prep.outside import held_out, left_out_before, with_history, write_outside
from recllm.data_prep.splits._positions import may_be_target
from recllm.data_prep.tables import (
    Connection,
    Table,
    materialise,
    number,
    read,
    scalars,
    session,
    size,
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
    version = 3  # writes sequences
    parents = ("ingest",)

    def settings(self) -> dict[str, Any]:
        """The conditions and the core's k."""
        data = self.recipe.data
        times = {"since": data.since, "until": data.until}
        unseen = {} if data.unseen_items == "drop" else {"unseen_items": data.unseen_items}
        behaviors = (data.history_behaviors, data.target_behaviors)
        return {
            "user_k": data.core[0],
            "item_k": data.core[1],
            "min_rating": data.min_rating,
            **{name: None if time is None else to_seconds(time) for name, time in times.items()},
            "min_title_length": data.min_title_length,
            "repeats": data.repeats,
            **unseen,
            **({"outside": True} if data.split.name == "given" else {}),
            "behaviors": [None if names is None else sorted(set(names)) for names in behaviors],
        }

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write what is left in sequences: each user's interactions, or ready-made histories.

        owners.parquet: sequence int64 (0, 1, …, in the order of user ids), user_id string.
        items.parquet: item int32 (0, 1, …, in the order of item ids), item_id, title, …; the
        items that occur, and where the recipe keeps them, those that the log never named (counted
        as `unseen_items`). interactions.parquet: row (as ingested, with gaps), sequence, item,
        timestamp and whatever else the log has; is_target, false where an interaction is history
        only, where the recipe's behaviours say so; in the order of sequence, timestamp, row. Of a
        log that the user split, outside.parquet, see `recllm.data_prep.outside`.
        """
        data = self.recipe.data
        with session(data) as con:
            log = read(con, inputs["ingest"] / "interactions.parquet")
            items = read(con, inputs["ingest"] / "items.parquet")
            counts = {"interactions_before": _count(log), "items_before": _count(items)}
            unseen = items.anti_join(log, "item_id").select("item_id")
            ready_made = "history" in log.columns
            if ready_made:
                _refuse_filters(data)
            log, left_out = meet_conditions(con, log, items, data, is_order_only(inputs["ingest"]))
            counts |= left_out
            before = _count(log)
            kept, left_out = _whole(log) if ready_made else _in_core(con, log, *data.core)
            catalogue = kept.items.select("item_id")
            if data.unseen_items == "keep":
                counts["unseen_items"] = _count(unseen)
                catalogue = catalogue.union(unseen)
            _write(con, kept, items.semi_join(catalogue, "item_id"), out)
            counts |= left_out | _sizes(con, out)
            if data.split.name == "given" and "split" in log.columns:
                counts |= _write_outside(con, log, kept, inputs["ingest"], out)
            if max(data.core) > 1:
                counts["interactions_below_k_core"] = before - counts["interactions"]
            return counts


@dataclass(frozen=True)
class _Kept:
    """What is written.

    Attributes:
        log: the interactions with `sequence` and `key`, of the item, in place of the ids.
        owners: sequence, user_id.
        items: item_id, key.
    """

    log: Table
    owners: Table
    items: Table


def _whole(log: Table) -> tuple[_Kept, dict[str, int]]:
    """All of ready-made histories."""
    owners = log.group_by("sequence").aggregate(user_id=log.user_id.min())
    items = log.select("item_id", key="item_id").distinct()
    return _Kept(log.drop("user_id").rename(key="item_id"), owners, items), {}


def _in_core(con: Connection, log: Table, user_k: int, item_k: int) -> tuple[_Kept, dict[str, int]]:
    """The k-core, a sequence for each user, and counts of what was left out."""
    coded = encode(con, log, user_k, item_k)
    users, items, counts = coded.users, coded.items, {}
    if max(user_k, item_k) > 1:
        core = k_core(con, coded.log, user_k, item_k)
        users = materialise(con, users.semi_join(core[0], "user"))
        items = materialise(con, items.semi_join(core[1], "item"))
        if not size(con, items):
            raise UserError(_nothing_in_core(log, user_k, item_k))
        counts = {
            "users_below_k_core": size(con, coded.users) - size(con, users),
            "items_below_k_core": size(con, coded.items) - size(con, items),
        }
    owners = materialise(con, number(con, users.drop("rows"), "sequence", ["user_id"]))
    kept = coded.log.join(owners.select("sequence", "user"), "user").drop("user")
    items = items.select("item_id", key="item")
    return _Kept(kept.rename(key="item"), owners.drop("user"), items), counts


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


def _write(con: Connection, kept: _Kept, items: Table, out: Path) -> None:
    """Write the three tables; `items` are those of the catalogue."""
    index = number(con, items, "item", ["item_id"])
    index = materialise(con, index.mutate(item=index["item"].cast("int32")))
    others = [name for name in items.columns if name != "item_id"]
    write(con, index.select("item", "item_id", *others).order_by("item"), out / "items.parquet")
    write(con, kept.owners.order_by("sequence"), out / "owners.parquet")
    first = ("row", "sequence", "item", "timestamp")
    extra = [name for name in kept.log.columns if name not in (*first, "key")]
    keys = kept.items.join(index.select("item_id", "item"), "item_id").select("key", "item")
    log = kept.log.join(keys, "key").select(*first, *extra)
    write(con, log.order_by("sequence", "timestamp", "row"), out / "interactions.parquet")


def _write_outside(
    con: Connection, log: Table, kept: _Kept, ingested: Path, out: Path
) -> dict[str, int]:
    """Write the held-out targets that are not in the catalogue; see `recllm.data_prep.outside`.

    Args:
        log: what met the conditions; `kept` is what is left of it.
    """
    left_out = log.filter(may_be_target(log)).anti_join(kept.items, "item_id")
    outside = left_out_before(con, ingested, held_out(left_out))
    if "history" not in log.columns:
        outside = with_history(outside, kept.log, kept.owners)
    return write_outside(con, outside, out)


def _sizes(con: Connection, out: Path) -> dict[str, int]:
    """How much was written."""
    log, owners = read(con, out / "interactions.parquet"), read(con, out / "owners.parquet")
    users = scalars(owners.aggregate(users=owners.user_id.nunique()))
    items = pq.read_metadata(out / "items.parquet").num_rows
    counts = {"interactions": _count(log)} | users | {"items": items}
    if "is_target" in log.columns:
        counts |= scalars(log.aggregate(history_only=(~log.is_target).sum()))
    return counts


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
