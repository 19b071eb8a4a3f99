"""What an interaction must meet to stay, whoever's it is: behaviour, rating, time, title, repeats.

Each condition returns what is left of the log and counts what it left out.
"""

from collections.abc import Mapping

from recllm.config.schema import DataSection
from recllm.config.times import in_words, to_seconds
from recllm.data_prep.tables import Column, Connection, Table, collect, materialise, scalars
from recllm.errors import UserError

#: Behaviours that an error message lists at most.
LISTED = 20


def meet_conditions(
    con: Connection, log: Table, items: Table, data: DataSection, order_only: bool
) -> tuple[Table, dict[str, int]]:
    """What meets the conditions of a recipe, tried in the order of this file.

    Args:
        log, items: as ingested.
        order_only: whether the log has positions in place of times.
    """
    counts: dict[str, int] = {}
    if data.history_behaviors is not None or data.target_behaviors is not None:
        log, left_out = of_behaviors(log, data)
        counts |= left_out
    if data.min_rating is not None:
        log, left_out = rated(log, data.min_rating)
        counts |= left_out
    if data.since is not None or data.until is not None:
        if order_only:
            raise UserError(
                "data.since and data.until choose by time, but the log has positions and no times; "
                "name a column of times with data.columns.time, or set both to null"
            )
        log, left_out = within(log, data.since, data.until)
        counts |= left_out
    if data.min_title_length:
        log, left_out = titled(log, items, data.min_title_length)
        counts |= left_out
    if data.repeats != "keep":
        log, left_out = without_repeats(log, consecutive=data.repeats == "drop-consecutive")
        log = materialise(con, log)
        counts |= left_out
    return log, counts


def of_behaviors(log: Table, data: DataSection) -> tuple[Table, dict[str, int]]:
    """The interactions of `history_behaviors`; `is_target` marks those of `target_behaviors`.

    There is such a column only where some interactions may be no targets.

    Raises:
        UserError: the log has no behaviours, or not those.
    """
    named = {*(data.history_behaviors or ()), *(data.target_behaviors or ())}
    if "behavior" not in log.columns:
        raise UserError(
            f"the recipe names behaviors ({', '.join(sorted(named))}), but the log has none; name "
            "their column with data.columns.behavior, or set data.history_behaviors and "
            "data.target_behaviors to null"
        )
    _check_known(log, named)
    counts: dict[str, int] = {}
    if data.history_behaviors is not None:
        of_history = log.behavior.isin(data.history_behaviors).fill_null(False)
        left_out = {
            "of_other_behaviors": ~of_history & log.behavior.notnull(),
            "without_behavior": log.behavior.isnull(),
        }
        log, counts = _sift(log, of_history, left_out)
    if data.has_history_only and data.target_behaviors is not None:
        log = log.mutate(is_target=log.behavior.isin(data.target_behaviors).fill_null(False))
    return log, counts


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
    left_out = {"below_rating": log.rating < min_rating, "without_rating": log.rating.isnull()}
    failed, advice = f"is rated {min_rating:g} or better", "lower data.min_rating"
    return _sift(log, log.rating >= min_rating, left_out, failed, advice)


def within(
    log: Table, since: int | str | None, until: int | str | None
) -> tuple[Table, dict[str, int]]:
    """The interactions from the time `since` to before the time `until`.

    Raises:
        UserError: there are none.
    """
    import ibis

    left_out = {}
    if since is not None:
        left_out["before_since"] = log.timestamp < to_seconds(since)
    if until is not None:
        left_out["until_or_later"] = log.timestamp >= to_seconds(until)
    span = scalars(log.aggregate(first=log.timestamp.min(), last=log.timestamp.max()))
    limits = [f"since {since}"] if since is not None else []
    limits += [f"before {until}"] if until is not None else []
    advice = (
        f"the log goes from {in_words(span['first'])} to {in_words(span['last'])}: "
        "choose data.since and data.until in it"
    )
    return _sift(
        log, ~ibis.or_(*left_out.values()), left_out, f"happened {' and '.join(limits)}", advice
    )


def titled(log: Table, items: Table, min_length: int) -> tuple[Table, dict[str, int]]:
    """The interactions with items whose title has `min_length` characters or more.

    White space around a title does not count. An item that goes by its id has no title.

    Raises:
        UserError: no item has such a title.
    """
    title = items.title.re_replace(r"^[ \t\r\n\f\x0b]+|[ \t\r\n\f\x0b]+\z", "")
    short = items.filter((title.length() < min_length) | (items.title == items.item_id))
    counted = short.aggregate(items_with_short_titles=short.count())
    marked = log.left_join(short.select(short="item_id"), log.item_id == short.item_id)
    too_short = marked.short.notnull()
    left_out = {"interactions_with_short_titles": too_short}
    failed = f"is with an item whose title has {min_length} characters"
    kept, counts = _sift(marked, ~too_short, left_out, failed, "lower data.min_title_length")
    return kept.select(log.columns), scalars(counted) | counts


def without_repeats(log: Table, consecutive: bool) -> tuple[Table, dict[str, int]]:
    """The first interaction of each sequence with each item, or of each run of one item.

    A sequence is in the order of timestamp, then row. Where the log has behaviours, another
    behaviour towards the same item is no repeat.
    """
    import ibis

    owner = "sequence" if "sequence" in log.columns else "user_id"
    keyed = log.mutate(done=log.behavior.fill_null("")) if "behavior" in log.columns else log
    same = ["item_id", *(["done"] if "behavior" in log.columns else [])]
    order = [keyed.timestamp, keyed.row]
    if consecutive:
        sequence = ibis.window(group_by=keyed[owner], order_by=order)
        before = {f"{name}_before": keyed[name].lag().over(sequence) for name in same}
        marked = keyed.mutate(**before)
        equal: Column = ibis.and_(*(marked[name] == marked[f"{name}_before"] for name in same))
        repeated = equal.fill_null(False)
    else:
        group = ibis.window(group_by=[keyed[name] for name in (owner, *same)], order_by=order)
        marked = keyed.mutate(occurrence=ibis.row_number().over(group))
        repeated = marked.occurrence > 0
    name = "consecutive_repeats" if consecutive else "repeats"
    kept, counts = _sift(marked, ~repeated, {name: repeated})
    return kept.select(log.columns), counts


def describe_size(log: Table) -> str:
    """How many interactions, users and items a log has, in words."""
    found = scalars(
        log.aggregate(n=log.count(), users=log.user_id.nunique(), items=log.item_id.nunique())
    )
    return f"{found['n']} interactions ({found['users']} users, {found['items']} items)"


def _sift(
    log: Table, kept: Column, left_out: Mapping[str, Column], failed: str = "", advice: str = ""
) -> tuple[Table, dict[str, int]]:
    """The rows where `kept` holds, and how often each reason for leaving one out does.

    Raises:
        UserError: no row is left, as no interaction `failed`; `advice` says what to do.
    """
    sums = {name: reason.sum() for name, reason in left_out.items()}
    found = scalars(log.aggregate(**sums, kept=kept.sum()))
    counts = {name: int(number or 0) for name, number in found.items()}
    if not counts.pop("kept"):
        raise UserError(f"no interaction {failed} ({describe_size(log)}); {advice}")
    return log.filter(kept), counts


def _check_known(log: Table, named: set[str]) -> None:
    """Raise for behaviours that the log does not have, with those that it has."""
    sizes = log.filter(log.behavior.notnull()).group_by("behavior").aggregate(n=lambda t: t.count())
    known = collect(sizes.filter(sizes.behavior.isin(sorted(named))))
    unknown = sorted(named - {row["behavior"] for row in known})
    if not unknown:
        return
    found = collect(sizes.order_by(sizes.n.desc(), "behavior").limit(LISTED + 1))
    listed = [f"{row['behavior']} ({row['n']})" for row in found[:LISTED]]
    raise UserError(
        f"the log has no behavior {' or '.join(map(repr, unknown))}; found "
        f"{', '.join(listed) or 'none'}{', …' if len(found) > LISTED else ''}; "
        "mend data.history_behaviors and data.target_behaviors"
    )
