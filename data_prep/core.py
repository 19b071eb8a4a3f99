"""The k-core of a log: users and items with many interactions among each other."""

from itertools import count

from recllm.data_prep.tables import Connection, Table, discard, materialise, number, scalars


def k_core(con: Connection, pairs: Table, user_k: int, item_k: int) -> Table:
    """The largest subset in which users have at least `user_k` rows and items `item_k`.

    Users and items take turns to lose those with too few rows. After the first turn of each,
    only those are counted again that have just lost rows.

    Args:
        pairs: a materialised table with `user` and `item`; it is discarded.
    """
    touched: Table | None = None
    for turn in count():
        side, other, k = (("user", "item", user_k), ("item", "user", item_k))[turn % 2]
        counted = pairs if touched is None or turn < 2 else pairs.semi_join(touched, side)
        rows = counted.group_by(side).aggregate(rows=counted.count())
        rare = materialise(con, rows.filter(rows.rows < k).select(side))
        if not _count(rare) and turn:
            return pairs
        touched = materialise(con, pairs.semi_join(rare, side).select(other).distinct())
        kept = materialise(con, pairs.anti_join(rare, side))
        discard(con, pairs)
        pairs = kept
    raise AssertionError("unreachable: every turn but the last takes rows away")


def core_ids(con: Connection, log: Table, user_k: int, item_k: int) -> tuple[Table, Table]:
    """The users and the items of the core, each with `kept`, whether it is in it.

    An interaction is in the core where its user and its item are.

    Args:
        log: with `user_id` and `item_id`.

    Returns:
        user_id, user, rows, kept and item_id, item, rows, kept: every id of the log, a number of
        its own, its interactions in the log and whether the core has it.
    """
    import ibis

    users, items = _numbered(con, log, "user_id", "user"), _numbered(con, log, "item_id", "item")
    often = users.filter(users.rows >= user_k), items.filter(items.rows >= item_k)
    if all(
        _count(some) == _count(every) for some, every in zip(often, (users, items), strict=True)
    ):
        always = ibis.literal(True)
        return users.mutate(kept=always), items.mutate(kept=always)
    pairs = log.select("user_id", "item_id").join(often[0], "user_id")
    pairs = pairs.join(often[1], "item_id").select("user", "item")
    core = k_core(con, materialise(con, pairs), user_k, item_k)
    return _marked(con, users, core, "user"), _marked(con, items, core, "item")


def _numbered(con: Connection, log: Table, column: str, name: str) -> Table:
    """The ids of a column with their rows and a number: integers are quicker to group and join."""
    ids = number(con, log.group_by(column).aggregate(rows=log.count()), name)
    return materialise(con, ids.mutate(**{name: ids[name].cast("int32")}))


def _marked(con: Connection, ids: Table, core: Table, name: str) -> Table:
    kept = core.select(in_core=core[name]).distinct()
    marked = ids.left_join(kept, ids[name] == kept.in_core)
    return materialise(con, marked.select(*ids.columns, kept=marked.in_core.notnull()))


def _count(table: Table) -> int:
    return scalars(table.aggregate(n=table.count()))["n"]
