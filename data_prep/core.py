"""The k-core of a log: users and items with many interactions among each other."""

from dataclasses import dataclass
from functools import partial

from recllm.data_prep.tables import Connection, Table, materialise, number, shrink


@dataclass(frozen=True)
class Coded:
    """A log whose ids are numbers, which are quicker to group and to join than text.

    Attributes:
        log: materialised; `user` and `item` (int32) in place of `user_id` and `item_id`.
        users: user_id, user, rows: every id, its number and how often it stands in the log.
        items: item_id, item, rows.
    """

    log: Table
    users: Table
    items: Table


def encode(con: Connection, log: Table, user_k: int, item_k: int) -> Coded:
    """Number the ids of a log with `user_id` and `item_id`.

    Rows of a user with less than `user_k` of them are left out, and so for items: no core has
    them.
    """
    users, items = _numbered(con, log, "user_id", "user"), _numbered(con, log, "item_id", "item")
    often = users.filter(users.rows >= user_k), items.filter(items.rows >= item_k)
    coded = log.join(often[0].select("user_id", "user"), "user_id")
    coded = coded.join(often[1].select("item_id", "item"), "item_id")
    return Coded(materialise(con, coded.drop("user_id", "item_id")), users, items)


def k_core(con: Connection, log: Table, user_k: int, item_k: int) -> tuple[Table, Table]:
    """The users and the items of the core, each once.

    The core is the largest subset of the rows in which users have at least `user_k` of them and
    items `item_k`: the rows whose user and item both are in it. It is found by peeling (Batagelj
    and Zaversnik, 2003): whoever has too few rows goes, all at once, and those that they shared
    rows with lose these; what counts the rows of each is a table of users and items alone, and
    the log is only asked for the rows of those who go.

    Args:
        log: with `user` and `item`, numbers from 0 on.
    """
    # Users and items are the nodes of one graph: items go by the negative numbers.
    users, items = _spare_rows(log, "user", user_k), _spare_rows(log, "item", item_k)
    nodes = users.union(items.mutate(node=(-1 - items.node).cast("int32")))
    nodes = shrink(con, nodes, partial(_peel, log))
    users, items = nodes.filter(nodes.node >= 0), nodes.filter(nodes.node < 0)
    return users.select(user="node"), items.select(item=(-1 - items.node).cast("int32"))


def _spare_rows(log: Table, side: str, k: int) -> Table:
    """Of each id of one side, how many rows it has beyond the `k` (at least 1) that it needs."""
    counted = log.group_by(node=log[side].cast("int32")).aggregate(rows=log.count())
    return counted.select("node", spare=(counted.rows - max(k, 1)).cast("int32"))


def _peel(log: Table, nodes: Table) -> Table:
    """The nodes that have enough rows, without the rows that they share with one that has not."""
    import ibis

    gone, left = nodes.filter(nodes.spare < 0), nodes.filter(nodes.spare >= 0)
    of_users = log.semi_join(gone, log.user == gone.node).select(
        node=(-1 - log["item"]).cast("int32")
    )
    of_items = log.semi_join(gone, log["item"] == -1 - gone.node).select(
        node=log.user.cast("int32")
    )
    lost = ibis.union(of_users, of_items)
    lost = lost.group_by("node").aggregate(rows=lost.count())
    found = left.left_join(lost, "node")
    return found.select("node", spare=(found.spare - found.rows.fill_null(0)).cast("int32"))


def _numbered(con: Connection, log: Table, column: str, name: str) -> Table:
    ids = number(con, log.group_by(column).aggregate(rows=log.count()), name)
    return materialise(con, ids.mutate(**{name: ids[name].cast("int32")}))
