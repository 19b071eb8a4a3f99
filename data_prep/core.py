"""The k-core of a log: users and items with many interactions among each other."""

from dataclasses import dataclass

from recllm.data_prep.tables import Connection, Table, discard, materialise, number, size

SIDES = ("user", "item")


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
    items `item_k`: the rows whose user and item both are in it. In each turn, all users and items
    with too few rows lose theirs; after the first turn, only those are counted again that have
    just lost rows.

    Args:
        log: with `user` and `item`.
    """
    pairs = log.select("user", "item")
    before = left = pairs
    touched = pairs, pairs
    while True:
        users, items = (
            _rarer_than(con, left, counted, side, k)
            for side, counted, k in zip(SIDES, touched, (user_k, item_k), strict=True)
        )
        if before is not pairs:  # it is what `touched` was made of
            discard(con, before)
        if not size(con, users) and not size(con, items):
            return left.select("user").distinct(), left.select("item").distinct()
        touched = left.semi_join(items, "item"), left.semi_join(users, "user")
        before = left
        left = materialise(con, left.anti_join(users, "user").anti_join(items, "item"))


def _rarer_than(con: Connection, left: Table, touched: Table, side: str, k: int) -> Table:
    """The ids of one side with less than `k` rows, of those that some rows have."""
    counted = left if touched is left else left.semi_join(touched, side)
    rows = counted.group_by(side).aggregate(rows=counted.count())
    return materialise(con, rows.filter(rows.rows < k).select(side))


def _numbered(con: Connection, log: Table, column: str, name: str) -> Table:
    ids = number(con, log.group_by(column).aggregate(rows=log.count()), name)
    return materialise(con, ids.mutate(**{name: ids[name].cast("int32")}))
