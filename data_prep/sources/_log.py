"""Text columns of a user's files to the interaction and item tables, with every value checked."""

from collections.abc import Mapping
from pathlib import Path

from recllm.data_prep.sources._reading import column_names, line_of, load, missing_column
from recllm.data_prep.tables import Column, Connection, Table, materialise, scalars, write
from recllm.errors import UserError

#: Columns of the item table that may be missing.
TEXT_COLUMNS = ("description", "categories", "brand")

LARGEST_TIME = 2.0**62


def choose(
    path: Path, found: list[str], role: str, asked: str | None, usual: tuple[str, ...]
) -> str | None:
    """The file's column for a role: the one asked for, which must exist, or a usual name."""
    if asked is not None and asked not in found:
        raise missing_column(path, asked, role, found)
    return asked or next((name for name in usual if name in found), None)


def require(
    path: Path, found: list[str], role: str, asked: str | None, usual: tuple[str, ...]
) -> str:
    """As `choose`, for a column that a table cannot do without."""
    chosen = choose(path, found, role, asked, usual)
    if chosen is None:
        raise missing_column(path, usual[0], role, found)
    return chosen


def read_interactions(
    con: Connection, path: Path, chosen: Mapping[str, str]
) -> tuple[Table, dict[str, int]]:
    """The interactions of one file, materialised, in the file's order.

    Args:
        chosen: `user_id`, `item_id` and, where the file has them, one of `time` and `position`,
            `rating` and `split`, to the file's columns.

    Returns:
        The table of the source schema, and counts: `order_only` (1 where the order stands for
        the time), `file_order` (1 where it is the file's own), `fractional_times` (cut).
    """
    import ibis

    table = load(con, path, chosen)
    order = next((name for name in ("time", "position") if name in chosen), None)
    values = {name: clean_ids(table, name) for name in ("user_id", "item_id")}
    problems = {chosen[name]: values[name].isnull() for name in ("user_id", "item_id")}
    timestamp = table.row
    if order:
        timestamp = _seconds(table[order], dates=order == "time")
        problems[chosen[order]] = timestamp.isnull()
    columns = {"row": table.row, **values, "timestamp": timestamp}
    if "rating" in chosen:
        rating = table.rating.try_cast("float64")
        problems[chosen["rating"]] = table.rating.notnull() & rating.isnull()
        columns["rating"] = ibis.ifelse(rating.isnan(), None, rating)
    if "split" in chosen:
        columns["split"] = table.split
    refuse(path, table, problems)
    counts = {"order_only": int(order != "time"), "file_order": int(order is None)}
    if order:
        cut = _is_fractional(table[order], timestamp).sum()
        counts["fractional_times"] = int(scalars(table.aggregate(n=cut))["n"] or 0)
    return materialise(con, table.select(**columns).order_by("row")), counts


def read_items(con: Connection, path: Path, chosen: Mapping[str, str]) -> Table:
    """The items of one file, materialised; titles may be null.

    Args:
        chosen: `item_id`, and any of `title` and TEXT_COLUMNS, to the file's columns.

    Raises:
        UserError: an item has no id, or two have the same.
    """
    table = load(con, path, chosen)
    item_id = clean_ids(table, "item_id")
    refuse(path, table, {chosen["item_id"]: item_id.isnull()})
    texts = {name: table[name] for name in chosen if name != "item_id"}
    texts = {name: _joined(text) if name != "title" else text for name, text in texts.items()}
    texts = {name: text.strip().nullif("") for name, text in texts.items()}
    items = materialise(con, table.select(item_id=item_id, **texts))
    twice = items.group_by("item_id").having(items.count() > 1).aggregate(n=items.count())
    found = scalars(twice.aggregate(n=twice.count(), first=twice.item_id.min()))
    if found["n"]:
        raise UserError(
            f"{path}: expected one row for each item, found {found['n']} item ids that stand "
            f"more than once (first: {found['first']!r}); keep one row of each"
        )
    return items


def write_log(
    con: Connection, interactions: Table, items: Table | None, out: Path
) -> dict[str, int]:
    """Write both tables; an item of the log that `items` lacks gets its id as its title."""
    import ibis

    used = interactions.select("item_id").distinct()
    counts = {"interactions": scalars(interactions.aggregate(n=interactions.count()))["n"]}
    if items is None:
        complete = used.mutate(title=used.item_id)
        counts["items_titled_by_id"] = scalars(used.aggregate(n=used.count()))["n"]
    else:
        nothing = ibis.literal(None, type="string")
        known: Table = items if "title" in items.columns else items.mutate(title=nothing)
        missing = used.anti_join(known, "item_id")
        empty = {name: nothing for name in known.columns if name != "item_id"}
        complete = known.union(missing.mutate(**empty).select(known.columns))
        counts["items_missing_from_items_file"] = scalars(missing.aggregate(n=missing.count()))["n"]
        untitled = scalars(complete.aggregate(n=complete.title.isnull().sum()))["n"]
        counts["items_titled_by_id"] = int(untitled or 0)
        complete = complete.mutate(title=complete.title.fill_null(complete.item_id))
    optional = [name for name in (*TEXT_COLUMNS, "sid") if name in complete.columns]
    kept = ["item_id", "title", *optional]
    complete = materialise(con, complete.select(kept).order_by("item_id"))
    counts["items"] = scalars(complete.aggregate(n=complete.count()))["n"]
    write(con, interactions, out / "interactions.parquet")
    write(con, complete, out / "items.parquet")
    return counts


def clean_ids(table: Table, name: str) -> Column:
    """Ids as strings; null where there is none (empty, NaN).

    A column of whole floats ("12.0", which pandas makes of integers) loses its ".0".
    """
    column = table[name]
    column = column.nullif("").nullif("nan").nullif("NaN")
    whole = r"^-?\d+\.0$"
    if scalars(table.aggregate(floats=column.re_search(whole).all()))["floats"]:
        return column.re_replace(r"\.0$", "")
    return column


def item_columns(
    con: Connection, path: Path, asked: Mapping[str, str | None], usual_ids: tuple[str, ...]
) -> dict[str, str]:
    """The columns of an items file by standard name, for `read_items`."""
    found = column_names(con, path)
    chosen = {"item_id": require(path, found, "item_id", asked.get("item_id"), usual_ids)}
    for name in ("title", *TEXT_COLUMNS):
        column = choose(path, found, name, asked.get(name), (name,))
        if column:
            chosen[name] = column
    return chosen


def is_json(text: Column) -> Column:
    """Whether a text is JSON."""
    import ibis

    @ibis.udf.scalar.builtin
    def json_valid(value: str) -> bool: ...

    return json_valid(text)


def parse_list(text: Column) -> Column:
    """A JSON array as strings."""
    import ibis

    @ibis.udf.scalar.builtin
    def from_json(value: str, structure: str) -> list[str]: ...

    return from_json(text, '["VARCHAR"]')


def _seconds(text: Column, dates: bool) -> Column:
    """Whole numbers as they are, other numbers cut, dates as seconds since 1970 UTC; else null."""
    import ibis
    import ibis.expr.datatypes as dt

    number = text.try_cast("float64")
    if dates:
        number = number.fill_null(text.try_cast(dt.Timestamp(timezone="UTC")).epoch_seconds())
    sane: Column = ibis.ifelse(
        number.abs() < LARGEST_TIME, number, None
    )  # neither infinite nor NaN
    whole = text.re_search(r"^\s*[+-]?\d+\s*$")
    return ibis.ifelse(whole, text.try_cast("int64"), sane.floor().cast("int64"))


def _is_fractional(text: Column, seconds: Column) -> Column:
    import ibis.expr.datatypes as dt

    number = text.try_cast("float64")
    number = number.fill_null(text.try_cast(dt.Timestamp(timezone="UTC")).epoch_seconds())
    return (number != seconds.cast("float64")).fill_null(False)


def _joined(text: Column) -> Column:
    """A JSON array of strings as one string; anything else as it is."""
    import ibis

    array = text.strip().startswith("[") & is_json(text)
    return ibis.ifelse(array, parse_list(ibis.ifelse(array, text, "[]")).join(" > "), text)


def refuse(path: Path, table: Table, problems: Mapping[str, Column]) -> None:
    """Raise for the first column with values that are missing or cannot be understood."""
    sums = {}
    for number, bad in enumerate(problems.values()):
        sums[f"count_{number}"] = bad.sum()
        sums[f"first_{number}"] = table.row.min(where=bad)
    found = scalars(table.aggregate(**sums))
    for number, column in enumerate(problems):
        count = int(found[f"count_{number}"] or 0)
        if count:
            rows = "1 row" if count == 1 else f"{count} rows"
            raise UserError(
                f"{path}: the column {column!r} is missing or cannot be understood in {rows}, "
                f"first in {line_of(path, found[f'first_{number}'])}; mend or remove them"
            )
