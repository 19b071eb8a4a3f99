"""Figures of a log and of its split, computed in Ibis from what the stages wrote."""

import math
from pathlib import Path
from typing import Any

from recllm.config.schema import DataSection
from recllm.data_prep.tables import Connection, Table, materialise, number, read, scalars, session

QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
#: The share of the items whose share of the interactions is told.
TOP_SHARE = 0.01


def describe_log(filtered: Path, data: DataSection | None = None) -> dict[str, Any]:
    """Figures of the interactions that the filter stage left.

    Args:
        filtered: the folder of the filter stage.
        data: whose engine is used; DuckDB without it.

    Returns:
        users, items, interactions; density, the share of all pairs of user and item that occur;
        lengths, of the sequences (those of users, or of the ready-made ones that a log has):
        least, quartiles, mean and most; repeat_rate, the share of the interactions whose item
        stands earlier in their sequence; popularity_gini, and top_1_percent_share, the share of the
        interactions that the most popular 1 % of the items (at least one) take; first_time and
        last_time; tied_interactions, at the same time as another of their sequence;
        duplicates, equal to an earlier one in sequence, item and time.
    """
    with session(data) as con:
        log = read(con, filtered / "interactions.parquet")
        owner = "sequence" if "sequence" in log.columns else "user_id"
        log = materialise(con, log.mutate(owner=log[owner]))
        found = scalars(
            log.aggregate(
                users=log.user_id.nunique(),
                items=log["item"].nunique(),
                interactions=log.count(),
                first_time=log.timestamp.min(),
                last_time=log.timestamp.max(),
            )
        )
        pairs = _distinct(log, "user_id", "item")
        interactions = found["interactions"]
        return {
            **{name: found[name] for name in ("users", "items", "interactions")},
            "density": pairs / (found["users"] * found["items"]),
            "lengths": _lengths(log),
            "repeat_rate": 1 - _distinct(log, "owner", "item") / interactions,
            **_popularity(con, log, interactions),
            "first_time": found["first_time"],
            "last_time": found["last_time"],
            "tied_interactions": _tied(log),
            "duplicates": interactions - _distinct(log, "owner", "item", "timestamp"),
        }


def _distinct(log: Table, *columns: str) -> int:
    rows = log.select(*columns).distinct()
    return scalars(rows.aggregate(n=rows.count()))["n"]


def _lengths(log: Table) -> dict[str, float]:
    sizes = log.group_by("owner").aggregate(size=log.count())
    quantiles = {name: sizes["size"].quantile(share) for name, share in QUANTILES.items()}
    found = scalars(sizes.aggregate(mean=sizes["size"].mean(), **quantiles))
    return {name: float(value) for name, value in found.items()}


def _popularity(con: Connection, log: Table, interactions: int) -> dict[str, float]:
    """The Gini coefficient of the items' counts, and what the most popular of them take."""
    counts = materialise(con, log.group_by("item").aggregate(n=log.count()))
    ranked = number(con, counts, "place", ["n", "item"])
    items = scalars(counts.aggregate(items=counts.count()))["items"]
    top = math.ceil(TOP_SHARE * items)
    weight = (2 * ranked.place + 1 - items).cast("float64")
    found = scalars(
        ranked.aggregate(
            weighted=(weight * ranked.n).sum(), top=ranked.n.sum(where=ranked.place >= items - top)
        )
    )
    return {
        "popularity_gini": found["weighted"] / (items * interactions),
        "top_1_percent_share": int(found["top"]) / interactions,
    }


def _tied(log: Table) -> int:
    times = log.group_by("owner", "timestamp").aggregate(n=log.count())
    return int(scalars(times.aggregate(n=times.n.sum(where=times.n > 1)))["n"] or 0)
