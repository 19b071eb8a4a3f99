"""The figures of a log."""

import math
from pathlib import Path
from typing import Any

from recllm.data_prep.statistics.entropy import approximate_entropy
from recllm.data_prep.tables import (
    Connection,
    Table,
    collect,
    materialise,
    number,
    read,
    scalars,
)

QUANTILES = {"min": 0.0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1.0}
#: The share of the items whose share of the interactions is told.
TOP_SHARE = 0.01


def read_log(con: Connection, filtered: Path) -> Table:
    """The interactions that the filter stage left, materialised, with `user`, a number."""
    log, owners = (read(con, filtered / f"{name}.parquet") for name in ("interactions", "owners"))
    if "history" not in log.columns:
        return materialise(con, log.mutate(user=log.sequence))
    users = number(con, owners.select("user_id").distinct(), "user")
    users = owners.join(users, "user_id").select("sequence", "user")
    return materialise(con, log.join(users, "sequence"))


def describe_log(con: Connection, log: Table) -> dict[str, Any]:
    """Figures of the interactions.

    Args:
        log: from `read_log`.

    Returns:
        users, items, interactions; density, the share of all pairs of user and item that occur;
        lengths, of the sequences: least, quartiles, mean and most; repeat_rate, the share of the
        interactions whose item stands earlier in their sequence; approximate_entropy, see
        `recllm.data_prep.statistics.entropy`; popularity_gini, and top_1_percent_share, the share
        of the interactions that the most popular 1 % of the items (at least one) take;
        first_time and last_time; tied_interactions, at the same time as another of their
        sequence; duplicates, equal to an earlier one in sequence, item and time; behaviors, the
        interactions of each, where the log tells behaviours apart.
    """
    found = scalars(
        log.aggregate(
            users=log.user.nunique(),
            items=log["item"].nunique(),
            interactions=log.count(),
            first_time=log.timestamp.min(),
            last_time=log.timestamp.max(),
        )
    )
    pairs = _distinct(log, "user", "item")
    interactions = found["interactions"]
    return {
        **{name: found[name] for name in ("users", "items", "interactions")},
        "density": pairs / (found["users"] * found["items"]),
        "lengths": _lengths(log),
        "repeat_rate": 1 - _distinct(log, "sequence", "item") / interactions,
        "approximate_entropy": approximate_entropy(con, log),
        **_popularity(con, log, interactions),
        "first_time": found["first_time"],
        "last_time": found["last_time"],
        "tied_interactions": _tied(log),
        "duplicates": interactions - _distinct(log, "sequence", "item", "timestamp"),
        **_behaviors(log),
    }


def _distinct(log: Table, *columns: str) -> int:
    rows = log.select(*columns).distinct()
    return scalars(rows.aggregate(n=rows.count()))["n"]


def _lengths(log: Table) -> dict[str, float]:
    sizes = log.group_by("sequence").aggregate(size=log.count())
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
    times = log.group_by("sequence", "timestamp").aggregate(n=log.count())
    return int(scalars(times.aggregate(n=times.n.sum(where=times.n > 1)))["n"] or 0)


def _behaviors(log: Table) -> dict[str, dict[str, int]]:
    if "behavior" not in log.columns:
        return {}
    named = log.mutate(name=log.behavior.fill_null("none"))
    counts = named.group_by("name").aggregate(n=named.count()).order_by("name")
    return {"behaviors": {row["name"]: row["n"] for row in collect(counts)}}
