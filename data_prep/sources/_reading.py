"""Read a user's file (CSV, TSV, JSON lines, Parquet; gz) as a table of text columns.

Text, so that nothing is guessed: an id such as 007 stays what it is, and a value that cannot be
understood is found where it is parsed, with its line.
"""

import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from recllm.config.registry import nearest
from recllm.data_prep.sources._csv_files import Layout, csv_layout, opened
from recllm.data_prep.sources._parquet_files import describe_parquet, read_parquet
from recllm.data_prep.sources._text_files import (
    is_json_array,
    json_keys,
    read_delimited,
    read_json_array,
    read_json_lines,
)
from recllm.data_prep.tables import Connection, Table, read, session, write
from recllm.errors import UserError

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}
#: How the line of DuckDB's message begins that says what is wrong with a line of CSV.
CSV_REASONS = ("Expected Number", "Value with", "Invalid unicode", "Maximum line size")
#: What DuckDB says of a file whose lines end in two ways.
NO_STATE = "state machine reached an invalid state"


def existing(path: Path) -> Path:
    """`path`, which must exist."""
    try:
        found = path.exists()
    except OSError as error:  # a name too long, a folder that must not be looked into
        raise UserError(f"{path}: {error.strerror}; check the path") from None
    if not found:
        raise UserError(f"{path}: no such file or folder; check the path (it is read from here)")
    return path


def find_table(folder: Path, stem: str) -> Path | None:
    """The one file `stem.*` of a folder that can be read; None where there is none."""
    found = sorted(p for p in folder.glob(f"{stem}.*") if p.is_file() and format_of(p))
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise UserError(f"{folder}: expected one file {stem}.*, found {names}; keep one of them")
    return found[0] if found else None


def require_table(folder: Path, stem: str) -> Path:
    """As `find_table`, where the file must be there."""
    found = find_table(folder, stem)
    if found is None:
        listed = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
        kinds = ", ".join(FORMATS)
        raise UserError(f"{folder}: expected a file {stem}.* ({kinds}; .gz), found {listed}")
    return found


def load(
    con: Connection,
    path: Path,
    columns: Mapping[str, str],
    layout: Layout | None = None,
    numbers: Collection[str] = (),
) -> Table:
    """The named columns of a file as strings, and of each line whether it could be read.

    Args:
        columns: new name to the file's own.
        numbers: new names; where the file has integers or doubles under them, so has the table.
        layout: of a delimited file without a header; by default the file's name tells its format.

    Returns:
        The columns; `row` (int64, from 0), the line's place in the file; `problem` (string), why
        a line could not be read, null where it could; `raw` (string), the text of such a line.
        Blank lines are none.

    Raises:
        UserError: the file cannot be read to its end.
    """
    if con.name == "pyspark":
        return _load_on_spark(con, path, columns, layout, numbers)
    kind = format_of(path)
    with readable(path):
        if layout is not None or kind == "csv":
            return read_delimited(con, path, columns, layout or csv_layout(path))
        if kind == "parquet":
            return read_parquet(con, path, columns, numbers)
        reader = read_json_array if is_json_array(path) else read_json_lines
        return reader(con, path, columns)


def _load_on_spark(
    con: Connection,
    path: Path,
    columns: Mapping[str, str],
    layout: Layout | None,
    numbers: Collection[str],
) -> Table:
    from recllm.data_prep.engines.spark import folder, new_name
    from recllm.data_prep.sources import _reading_spark as spark

    kind = format_of(path)
    with readable(path):
        if layout is not None:  # an old format of logs that one machine reads in seconds
            copy = folder(con) / f"{new_name('file')}.parquet"
            with session() as duckdb:
                write(duckdb, load(duckdb, path, columns, layout).order_by("row"), copy)
            return read(con, copy)
        if kind == "csv":
            found = csv_layout(path)
            return spark.load_csv(con, path, list(found.columns), found.delimiter, columns)
        if kind == "json":
            return spark.load_json(con, path, columns, array=is_json_array(path))
        return spark.load_parquet(con, path, columns, numbers)


def column_names(con: Connection, path: Path) -> list[str]:
    """The columns of a file.

    Raises:
        UserError: the file is empty, cannot be read or is of no kind that is known.
    """
    if not existing(path).is_file():
        raise UserError(f"{path}: expected a file, found a folder")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    kind = format_of(path)
    if kind is None:
        raise UserError(f"{path}: expected one of {', '.join(FORMATS)} (or .gz), found this name")
    # The start of a file is enough, so that DuckDB reads it on every engine.
    with readable(path), nullcontext(con) if con.name == "duckdb" else session() as duckdb:
        if kind == "csv":
            names = list(csv_layout(path).columns)
        elif kind == "json":
            names = json_keys(duckdb, path)
        else:
            names = [row[0] for row in describe_parquet(duckdb, path)]
    if not names:
        objects = " (expected JSON objects, one a line)" if kind == "json" else ""
        raise UserError(f"{path}: the file holds no rows{objects}")
    if len({name.lower() for name in names}) < len(names):
        raise UserError(f"{path}: a column stands twice: {', '.join(names)}; rename one of them")
    return names


def missing_column(
    path: Path, wanted: str, role: str, found: list[str], key: str | None = None
) -> UserError:
    """The error for a column that a file does not have; `key` is where recipes name it."""
    close = nearest(wanted, found) or nearest(role, found)
    hint = f"did you mean {close!r}? " if close else ""
    return UserError(
        f"{path}: expected a column {wanted!r}; {hint}found: {', '.join(found)}; "
        f"say which it is with {key or f'data.columns.{role}'}"
    )


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what a reader raises into one line for the user."""
    import duckdb

    try:
        yield
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected text in UTF-8, found other bytes ({error})") from None
    except (duckdb.Error, OSError, EOFError, zlib.error) as error:
        why = _first_words(str(error))
        if NO_STATE in why and _ends_in_two_ways(path):
            why = (
                r"some of its lines end in \r\n, others in \n; make them one, as sed -i 's/\r$//' "
                f"{path} does"
            )
        raise UserError(f"{path}: the file cannot be read: {why}") from None


def _ends_in_two_ways(path: Path) -> bool:
    with opened(path) as lines:
        kinds = {line.endswith(b"\r\n") for line in lines if line.endswith(b"\n")}
    return len(kinds) == 2


def _first_words(message: str) -> str:
    """What is wrong: DuckDB's messages go on with rows of the file, its settings and advice."""
    first, *rest = [line.strip() for line in message.splitlines()] or [""]
    reason = next((line for line in rest if line.startswith(CSV_REASONS)), "")
    return "; ".join(filter(None, (first, reason)))


def format_of(path: Path) -> str | None:
    """csv, json or parquet, by the name of a file; None where it is none of them."""
    name = path.name.lower()
    gzipped = name.endswith(".gz")
    kind = FORMATS.get(Path(name.removesuffix(".gz")).suffix)
    return None if gzipped and kind == "parquet" else kind
