"""The stage `filter`: rating threshold, k-core, and the dense index of the items that are left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recllm.artifacts.stage import Stage
from recllm.data_prep.core import core_ids
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


class Filter(Stage):
    """Leaves out what is rated too low, then users and items with too few interactions."""

    name = "filter"
    parents = ("ingest",)

    def settings(self) -> dict[str, Any]:
        """The core's k and the least rating."""
        data = self.recipe.data
        return {"k_core": data.k_core, "min_rating": data.min_rating}

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write what is left, with the items numbered in the order of their ids.

        interactions.parquet: row (as ingested, with gaps), user_id, item int32, timestamp and
        whatever else the log has; in the order of row. items.parquet: item int32, item_id,
        title, …; the items that occur, in the order of item.
        """
        data = self.recipe.data
        with session(data) as con:
            log = read(con, inputs["ingest"] / "interactions.parquet")
            items = read(con, inputs["ingest"] / "items.parquet")
            counts = {"interactions_before": _count(log), "items_before": _count(items)}
            if "history" in log.columns and (data.k_core or data.min_rating is not None):
                raise UserError(
                    "ready-made histories cannot be filtered; "
                    "set data.k_core to 0 and data.min_rating to null"
                )
            if data.min_rating is not None:
                log, below = rated(log, data.min_rating)
                counts |= below
            size, sizes = _count(log), {}
            used = log.select("item_id").distinct()
            if data.k_core > 1:
                log, used, sizes = _in_core(con, log, data.k_core)
            counts |= _write(con, log, items, used, out)
            if data.k_core > 1:
                counts["interactions_below_k_core"] = size - counts["interactions"]
            return counts | (sizes or _sizes(con, out))


def rated(log: Table, min_rating: float) -> tuple[Table, dict[str, int]]:
    """The interactions rated `min_rating` or better; those without a rating are left out too.

    Raises:
        UserError: the log has no ratings, or none is high enough.
    """
    if "rating" not in log.columns:
        raise UserError(
            f"data.min_rating is {min_rating:g}, but the log has no ratings; "
            "name their column with data.columns.rating or drop data.min_rating"
        )
    kept = log.filter(log.rating >= min_rating)
    sums = {
        "below_rating": (log.rating < min_rating).sum(),
        "without_rating": log.rating.isnull().sum(),
    }
    counts = {name: int(n or 0) for name, n in scalars(log.aggregate(**sums)).items()}
    if not _count(kept):
        raise UserError(
            f"no interaction is rated {min_rating:g} or better ({_size(log)}); "
            "lower data.min_rating"
        )
    return kept, counts


def _in_core(con: Connection, log: Table, k: int) -> tuple[Table, Table, dict[str, int]]:
    """The interactions of the k-core, the ids of its items, and how many users and items it has."""
    users, items = core_ids(con, log, k, k)
    kept_users, kept_items = users.filter(users.kept), items.filter(items.kept)
    found = {"users": _count(kept_users), "items": _count(kept_items)}
    if not found["items"]:
        raise UserError(
            f"k-core {k} removes all of the {_size(log)}: no group of users and items has {k} "
            "interactions each; lower data.k_core"
        )
    below = {
        "users_below_k_core": _count(users) - found["users"],
        "items_below_k_core": _count(items) - found["items"],
    }
    return log.semi_join(kept_users, "user_id"), kept_items.select("item_id"), below | found


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
    return {"interactions": _count(read(con, out / "interactions.parquet"))}


def _sizes(con: Connection, out: Path) -> dict[str, int]:
    written, items = read(con, out / "interactions.parquet"), read(con, out / "items.parquet")
    users = scalars(written.aggregate(users=written.user_id.nunique()))
    return users | {"items": _count(items)}


def _count(table: Table) -> int:
    return scalars(table.aggregate(n=table.count()))["n"]


def _size(log: Table) -> str:
    found = scalars(log.aggregate(users=log.user_id.nunique(), items=log.item_id.nunique()))
    return f"{_count(log)} interactions ({found['users']} users, {found['items']} items)"
