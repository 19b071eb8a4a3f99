"""Leaving out the items of a log that the items file lacks: `missing_items: drop`."""

from pathlib import Path

from recllm.catalog.outside import OUTSIDE_FILE
from recllm.data_prep.outside import held_out
from recllm.data_prep.tables import Connection, Table, materialise, number, scalars, write
from recllm.errors import UserError


def of_known_items(
    con: Connection, interactions: Table, items: Table, out: Path
) -> tuple[Table, dict[str, int]]:
    """The interactions of the items, and counts of the others.

    Ready-made histories lose the items that are left out. Where the log is split, its held-out
    targets among them are written into the folder `out`, see `recllm.data_prep.outside`.

    Raises:
        UserError: nothing is left.
    """
    counts: dict[str, int] = {}
    ready_made = "history" in interactions.columns
    if ready_made:
        interactions, counts = _shorten_histories(con, interactions, items)
    known = interactions.semi_join(items, "item_id")
    missing = interactions.anti_join(items, "item_id")
    counts |= scalars(
        missing.aggregate(
            items_missing_from_items_file=missing.item_id.nunique(),
            interactions_of_missing_items=missing.count(),
        )
    )
    if not scalars(known.aggregate(n=known.count()))["n"]:
        raise UserError(
            "data.missing_items is drop, but the items file lacks every item of the log; check "
            "that both write the ids alike"
        )
    if "split" in interactions.columns and counts["interactions_of_missing_items"]:
        targets = missing.filter(missing.history > 0) if ready_made else missing
        write(con, held_out(targets).order_by("user_id", "timestamp"), out / OUTSIDE_FILE)
    return _renumbered(con, known) if ready_made else known, counts


def _renumbered(con: Connection, log: Table) -> Table:
    """The log with its sequences counted from 0, also where some lost all that they held."""
    left = number(con, log.select("sequence").distinct(), "place", ["sequence"])
    renamed = log.join(left, "sequence").drop("sequence").rename(sequence="place")
    return materialise(con, renamed.select(log.columns))


def _shorten_histories(con: Connection, log: Table, items: Table) -> tuple[Table, dict[str, int]]:
    """The log, whose `history` counts only what is in the items; nothing is left out yet.

    Counts `targets_left_without_history`: held-out targets too, which nothing asks for then.
    """
    import ibis

    kept = log.semi_join(items, "item_id").select("row", kept=ibis.literal(1))
    marked = log.left_join(kept, "row").drop("row_right").fill_null({"kept": 0})
    in_order = {"group_by": marked.sequence, "order_by": marked.row}
    before = marked.kept.sum().over(**in_order, rows=(None, -1)).fill_null(0)
    place = ibis.row_number().over(**in_order)
    marked = materialise(con, marked.mutate(place=place, before=before))
    starts = marked.select("sequence", start=marked.place, left_before=marked.before)
    found = marked.mutate(start=marked.place - marked.history).join(starts, ["sequence", "start"])
    found = found.mutate(left=(found.before - found.left_before).cast("int64"))
    empty = (found.kept == 1) & (found.history > 0) & (found.left == 0)
    counts = scalars(found.aggregate(targets_left_without_history=empty.sum()))
    shortened = found.mutate(history=found.left).select(log.columns)
    return materialise(con, shortened), {name: int(n or 0) for name, n in counts.items()}
