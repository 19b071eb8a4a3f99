"""Text columns of a user's files to the interaction and item tables, with every value checked."""

from collections.abc import Mapping
from pathlib import Path

from recllm.data_prep.sources._missing_items import of_known_items
from recllm.data_prep.sources._reading import column_names, load, missing_column
from recllm.data_prep.sources._rejects import Rejects
from recllm.data_prep.tables import (
    Column,
    Connection,
    Table,
    materialise,
    number,
    read,
    scalars,
    size,
    write,
)
from recllm.data_prep.values import (
    is_fractional,
    is_json,
    parse_float,
    parse_list,
    parse_seconds,
    stripped,
    without_nan,
)
from recllm.errors import UserError

#: Columns of the item table that may be missing.
TEXT_COLUMNS = ("description", "categories", "brand")

#: What stands between the elements of a list; between other columns' it is " > ".
SEPARATORS = {"description": " "}

#: What is read as numbers from a file that has numbers.
NUMBERS = ("time", "position", "rating")


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
    con: Connection,
    path: Path,
    chosen: Mapping[str, str],
    rejects: Rejects | None = None,
    loaded: Table | None = None,
) -> tuple[Table, dict[str, int]]:
    """The interactions of one file; `row` is the place in the file, with gaps at rejected rows.

    Args:
        chosen: `user_id`, `item_id` and, where the file has them, one of `time` and `position`,
            `rating`, `behavior` and `split`, to the file's columns.
        rejects: takes the rows that cannot be understood; by default there must be none.
        loaded: what `load` gives for `path` and `chosen`, where it was called already.

    Returns:
        The table of the source schema, and counts: `order_only` (1 where the order stands for
        the time), `file_order` (1 where it is the file's own), `fractional_times` (cut).

    Raises:
        UserError: the file cannot be read, or more rows are wrong than may be set aside.
    """
    table = load(con, path, chosen, numbers=NUMBERS) if loaded is None else loaded
    order = next((name for name in ("time", "position") if name in chosen), None)
    ids = {name: table[name] for name in ("user_id", "item_id")}
    problems = {f"missing {name}": (chosen[name], _is_missing(ids[name])) for name in ids}
    tallies = {name: ~_is_whole_float(ids[name]) for name in ids}
    columns: dict[str, Column] = {"timestamp": table.row}
    if order:
        seconds = parse_seconds(table[order], dates=order == "time")
        problems[f"{order} not understood"] = (chosen[order], seconds.isnull())
        problems[f"negative {order}"] = (chosen[order], seconds < 0)
        tallies["fractional_times"] = is_fractional(table[order], seconds)
        columns["timestamp"] = seconds
    if "rating" in chosen:
        columns["rating"] = rating = parse_float(table.rating)
        wrong = without_nan(table.rating).notnull() & (rating.isnull() | rating.isinf())
        problems["rating not understood"] = (chosen["rating"], wrong.fill_null(False))
    columns |= {name: table[name].nullif("") for name in ("behavior", "split") if name in chosen}
    kept, found = (rejects or Rejects()).sift(con, path, table, problems, tallies)
    # A column of whole floats ("12.0", which pandas makes of integers) loses its ".0".
    ids = {name: ids[name] if found.pop(name) else _without_point(ids[name]) for name in ids}
    counts = {"order_only": int(order != "time"), "file_order": int(order is None)}
    return kept.select("row", **ids, **columns), counts | found


def load_items(
    con: Connection,
    path: Path,
    chosen: Mapping[str, str],
    rejects: Rejects | None = None,
    loaded: Table | None = None,
) -> Table:
    """The items of one file, materialised, with `row`; an item may stand more than once.

    Args:
        chosen: `item_id`, and any of `title` and TEXT_COLUMNS, to the file's columns.
        rejects: takes the rows that cannot be understood; by default there must be none.
        loaded: what `load` gives for `path` and `chosen`, where it was called already.
    """
    table = load(con, path, chosen) if loaded is None else loaded
    item_id = table.item_id
    problems = {"item without id": (chosen["item_id"], _is_missing(item_id))}
    tallies = {"others": ~_is_whole_float(item_id)}
    kept, found = (rejects or Rejects()).sift(con, path, table, problems, tallies)
    texts = {name: table[name] for name in chosen if name != "item_id"}
    texts = {
        name: joined(text, SEPARATORS.get(name, " > ")) if name != "title" else text
        for name, text in texts.items()
    }
    texts = {name: stripped(text).nullif("") for name, text in texts.items()}
    item_id = item_id if found["others"] else _without_point(item_id)
    return materialise(con, kept.select("row", item_id=item_id, **texts))


def read_items(
    con: Connection,
    path: Path,
    chosen: Mapping[str, str],
    rejects: Rejects | None = None,
    loaded: Table | None = None,
) -> Table:
    """The items of one file, materialised; titles may be null. See `load_items`.

    Raises:
        UserError: more items have no id than may be set aside, or two have the same.
    """
    items = load_items(con, path, chosen, rejects, loaded).drop("row")
    twice = items.group_by("item_id").having(items.count() > 1).aggregate(n=items.count())
    found = scalars(twice.aggregate(n=twice.count(), first=twice.item_id.min()))
    if found["n"]:
        raise UserError(
            f"{path}: expected one row for each item, found {found['n']} item ids that stand "
            f"more than once (first: {found['first']!r}); keep one row of each"
        )
    return items


def write_log(
    con: Connection,
    interactions: Table,
    items: Table | None,
    out: Path,
    missing_items: str = "keep",
    *,
    others: tuple[str, ...] = (),
) -> dict[str, int]:
    """Write both tables; gaps in `row` are closed.

    Args:
        items: the items file; without one, ids are titles.
        missing_items: `keep` an item of the log that `items` lacks, with its id as its title, or
            `drop` its interactions.
        others: columns of the items to write beside the usual ones.

    Raises:
        UserError: nothing is left.
    """

    counts = {}
    if items is not None and missing_items == "drop":
        interactions, counts = of_known_items(con, interactions, items, out)
    found = scalars(interactions.aggregate(rows=interactions.count(), last=interactions.row.max()))
    if found["rows"] and found["last"] != found["rows"] - 1:
        interactions = renumbered(con, interactions)
    numbers = [name for name, kind in interactions.schema().items() if kind.is_integer()]
    interactions = interactions.cast(dict.fromkeys(numbers, "int64"))  # Spark counts in int32
    write(con, interactions.order_by("row"), out / "interactions.parquet", in_order=True)
    log = read(con, out / "interactions.parquet")
    complete, titled = _complete(con, materialise(con, log.select("item_id").distinct()), items)
    optional = [name for name in (*TEXT_COLUMNS, "sid", *others) if name in complete.columns]
    complete = materialise(con, complete.select("item_id", "title", *optional))
    write(con, complete.order_by("item_id"), out / "items.parquet")
    return {"interactions": found["rows"], "items": size(con, complete)} | titled | counts


def renumbered(con: Connection, interactions: Table) -> Table:
    """The interactions in the order of `row`, which then counts from 0 without gaps."""
    placed = number(con, interactions, "place", ["row"])
    return placed.drop("row").rename(row="place").select(interactions.columns)


def _complete(con: Connection, used: Table, items: Table | None) -> tuple[Table, dict[str, int]]:
    """The items, with those of the log that are missing; each has a title."""
    import ibis

    if items is None:
        return used.mutate(title=used.item_id), {"items_titled_by_id": size(con, used)}
    nothing = ibis.literal(None, type="string")
    known: Table = items if "title" in items.columns else items.mutate(title=nothing)
    missing = used.anti_join(known, "item_id")
    empty = {name: nothing for name in known.columns if name != "item_id"}
    complete = known.union(missing.mutate(**empty).select(known.columns))
    counts = {
        "items_missing_from_items_file": scalars(missing.aggregate(n=missing.count()))["n"],
        "items_titled_by_id": scalars(complete.aggregate(n=complete.title.isnull().sum()))["n"],
    }
    counts = {name: int(number or 0) for name, number in counts.items()}
    return complete.mutate(title=complete.title.fill_null(complete.item_id)), counts


def clean_ids(table: Table, name: str) -> Column:
    """Ids as strings; null where there is none (empty, NaN).

    A column of whole floats ("12.0", which pandas makes of integers) loses its ".0".
    """
    import ibis

    column: Column = ibis.ifelse(_is_missing(table[name]), None, table[name])
    if scalars(table.aggregate(floats=_is_whole_float(column).all()))["floats"]:
        return _without_point(column)
    return column


def _is_missing(ids: Column) -> Column:
    return ids.isnull() | ids.isin(["", "nan", "NaN"])


def _is_whole_float(ids: Column) -> Column:
    import ibis

    return ibis.ifelse(ids.endswith(".0"), ids.re_search(r"^-?\d+\.0\z"), False)


def _without_point(ids: Column) -> Column:
    return ids.re_replace(r"\.0\z", "")


def item_columns(
    con: Connection,
    path: Path,
    asked: Mapping[str, str | None],
    usual_ids: tuple[str, ...],
    others: tuple[str, ...] = (),
) -> dict[str, str]:
    """The columns of an items file by standard name, for `read_items`.

    Args:
        others: columns that are kept under their own names.

    Raises:
        UserError: the file lacks one that it must have.
    """
    found = column_names(con, path)
    chosen = {"item_id": require(path, found, "item_id", asked.get("item_id"), usual_ids)}
    for name in ("title", *TEXT_COLUMNS):
        column = choose(path, found, name, asked.get(name), (name,))
        if column:
            chosen[name] = column
    for name in others:
        if name not in found:
            raise missing_column(path, name, name, found, "data.item_columns")
    return chosen | {name: name for name in others}


def joined(text: Column, separator: str, column: Column | None = None) -> Column:
    """A JSON array of strings as one string; anything else as it is; `column` as in `is_json`."""
    import ibis

    array = stripped(text).startswith("[") & is_json(text, column)
    parsed = parse_list(ibis.ifelse(array, text, "[]"), column)
    return ibis.ifelse(array, parsed.join(separator), text)
