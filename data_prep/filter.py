"""The stage `filter`: conditions, k-core, and the dense index of the items that are left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recllm.artifacts.stage import Stage
from recllm.config.schema import DataSection
from recllm.config.times import to_seconds
from recllm.data_prep.conditions import describe_size, meet_conditions
from recllm.data_prep.logs import is_order_only
from recllm.data_prep.tables import (
    Connection,
    Table,
    discard,
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
        with session() as con:
            log = read(con, inputs["ingest"] / "interactions.parquet")
            items = read(con, inputs["ingest"] / "items.parquet")
            counts = {"interactions_before": _count(log), "items_before": _count(items)}
            if "history" in log.columns:
                _refuse_filters(data)
            log, left_out = meet_conditions(con, log, items, data, is_order_only(inputs["ingest"]))
            counts |= left_out
            if max(data.core) > 1:
                log, left_out = _in_core(con, log, *data.core)
                counts |= left_out
            return counts | _write(con, log, items, out)


def k_core(con: Connection, pairs: Table, user_k: int, item_k: int) -> Table:
    """The largest subset in which users have at least `user_k` rows and items `item_k`.

    Args:
        pairs: a materialised table with `user` and `item`; it is discarded.
    """
    size = _count(pairs)
    least = {side: k for side, k in (("user", user_k), ("item", item_k)) if k > 1}
    while True:
        kept = pairs
        for side, k in least.items():
            often = kept.group_by(side).having(kept.count() >= k).aggregate(n=kept.count())
            kept = kept.semi_join(often, side)
        kept = materialise(con, kept)
        discard(con, pairs)
        if _count(kept) == size:
            return kept
        pairs, size = kept, _count(kept)


def _in_core(con: Connection, log: Table, user_k: int, item_k: int) -> tuple[Table, dict[str, int]]:
    users, items = _numbered(con, log, "user_id", "user"), _numbered(con, log, "item_id", "item")
    pairs = log.join(users, "user_id").join(items, "item_id").select("row", "user", "item")
    core = k_core(con, materialise(con, pairs), user_k, item_k)
    before, after = _count(log), _count(core)
    if not after:
        raise UserError(_nothing_in_core(log, user_k, item_k))
    left = scalars(core.aggregate(users=core.user.nunique(), items=core["item"].nunique()))
    counts = {
        "interactions_below_k_core": before - after,
        "users_below_k_core": _count(users) - left["users"],
        "items_below_k_core": _count(items) - left["items"],
    }
    return log.semi_join(core, "row"), counts


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


def _numbered(con: Connection, log: Table, column: str, name: str) -> Table:
    """The distinct ids of a column with a number each: integers are quicker to group and join."""
    return materialise(con, number(con, log.select(column).distinct(), name, [column]))


def _write(con: Connection, log: Table, items: Table, out: Path) -> dict[str, int]:
    used = number(con, items.semi_join(log, "item_id"), "item", ["item_id"])
    others = [name for name in items.columns if name != "item_id"]
    used = materialise(con, used.select("item_id", *others, item=used["item"].cast("int32")))
    write(con, used.select("item", "item_id", *others).order_by("item"), out / "items.parquet")
    extra = [name for name in log.columns if name not in ("row", "user_id", "item_id", "timestamp")]
    log = log.join(used.select("item_id", "item"), "item_id")
    log = log.select("row", "user_id", "item", "timestamp", *extra).order_by("row")
    write(con, log, out / "interactions.parquet")
    written = read(con, out / "interactions.parquet")
    users = scalars(written.aggregate(users=written.user_id.nunique()))
    counts = {"interactions": _count(written), **users, "items": _count(used)}
    if "is_target" in written.columns:
        counts |= scalars(written.aggregate(history_only=(~written.is_target).sum()))
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
