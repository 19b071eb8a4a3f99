"""Read a user's file (CSV, TSV, JSON lines, Parquet; gz) as a table of text columns.

Text, so that nothing is guessed: an id such as 007 stays what it is, and a value that cannot be
understood is found where it is parsed, with its line.
"""

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from recllm.config.registry import nearest
from recllm.data_prep.tables import Connection, Table, materialise, query, quoted, scalars, session
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
#: JSON objects need not all have the same keys; those of the first ones count as the columns.
JSON_SAMPLE = 10_000


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
    found = sorted(p for p in folder.glob(f"{stem}.*") if p.is_file() and _format(p))
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


def load(con: Connection, path: Path, columns: Mapping[str, str]) -> Table:
    """The named columns of a file as strings, with `row` (int64, from 0), its order in the file.

    Args:
        columns: new name to the file's own.

    Raises:
        UserError: the file cannot be read to its end.
    """
    import ibis

    if con.name == "pyspark":
        return _load_on_spark(con, path, columns)
    with _readable(path):
        table = query(con, _select(con, path))
        picked = table.select(**{new: table[own] for new, own in columns.items()})
        return materialise(con, picked.mutate(row=ibis.row_number()))


def _load_on_spark(con: Connection, path: Path, columns: Mapping[str, str]) -> Table:
    from recllm.data_prep.sources import _reading_spark as spark

    kind = _format(path)
    with _readable(path):
        if kind == "csv":
            table = spark.load_csv(con, path, *_header(path), columns)
        elif kind == "json":
            table = spark.load_json(con, path, columns, array=_is_array(path))
        else:
            table = spark.load_parquet(con, path, columns)
    bad = table.filter(table.problem.notnull())
    found = scalars(bad.aggregate(n=bad.count(), row=bad.row.min(), problem=bad.problem.min()))
    if found["n"]:
        where = line_of(path, found["row"])
        raise UserError(f"{path}: the file cannot be read: {found['problem']}, first in {where}")
    return table


def column_names(con: Connection, path: Path) -> list[str]:
    """The columns of a file.

    Raises:
        UserError: the file is empty, cannot be read or is of no kind that is known.
    """
    if not existing(path).is_file():
        raise UserError(f"{path}: expected a file, found a folder")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty")
    kind = _format(path)
    if kind is None:
        raise UserError(f"{path}: expected one of {', '.join(FORMATS)} (or .gz), found this name")
    # The start of a file is enough, so that DuckDB reads it on every engine.
    with _readable(path), nullcontext(con) if con.name == "duckdb" else session() as duckdb:
        if kind == "csv":
            names = _header(path)[0]
        elif kind == "json":
            names = _json_keys(duckdb, path)
        else:
            names = [row[0] for row in _describe_parquet(duckdb, path)]
    if not names:
        objects = " (expected JSON objects, one a line)" if kind == "json" else ""
        raise UserError(f"{path}: the file holds no rows{objects}")
    if len({name.lower() for name in names}) < len(names):
        raise UserError(f"{path}: a column stands twice: {', '.join(names)}; rename one of them")
    return names


def missing_column(path: Path, wanted: str, role: str, found: list[str]) -> UserError:
    """The error for a column that a file does not have."""
    close = nearest(wanted, found) or nearest(role, found)
    hint = f"did you mean {close!r}? " if close else ""
    return UserError(
        f"{path}: expected a column {wanted!r}; {hint}found: {', '.join(found)}; "
        f"say which it is with data.columns.{role}"
    )


def line_of(path: Path, row: int) -> str:
    """Where a row stands in its file, in words."""
    offset = {"csv": 2, "json": 1}.get(_format(path) or "")
    return f"row {row + 1}" if offset is None else f"line {row + offset}"


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what a reader raises into one line for the user."""
    import duckdb

    try:
        yield
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected text in UTF-8, found other bytes ({error})") from None
    except (duckdb.Error, OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: the file cannot be read: {_first_words(str(error))}") from None


def _first_words(message: str) -> str:
    """What is wrong: DuckDB's messages go on with rows of the file, its settings and advice."""
    first, *rest = [line.strip() for line in message.splitlines()] or [""]
    reason = next((line for line in rest if line.startswith(CSV_REASONS)), "")
    return "; ".join(filter(None, (first, reason)))


def _format(path: Path) -> str | None:
    name = path.name.lower()
    gzipped = name.endswith(".gz")
    kind = FORMATS.get(Path(name.removesuffix(".gz")).suffix)
    return None if gzipped and kind == "parquet" else kind


def _select(con: Connection, path: Path) -> str:
    kind = _format(path)
    if kind == "csv":
        return _select_csv(path)
    if kind == "json":
        keys = _json_keys(con, path)
        fields = ", ".join(f"json ->> {_json_path(key)} AS {_identifier(key)}" for key in keys)
        return f"SELECT {fields} FROM {_json_objects(path)}"
    fields = ", ".join(_parquet_text(name, type_) for name, type_ in _describe_parquet(con, path))
    return f"SELECT {fields} FROM read_parquet({quoted(path)})"


def _select_csv(path: Path) -> str:
    names, delimiter = _header(path)
    types = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in names)
    return (
        f"SELECT * FROM read_csv({quoted(path)}, auto_detect=false, header=true, "
        f"columns={{{types}}}, delim={quoted(delimiter)}, quote='\"', escape='\"', comment='')"
    )


def _header(path: Path) -> tuple[list[str], str]:
    """A CSV file's column names and the delimiter that its first line shows."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        first = file.readline().rstrip("\r\n")
    tabbed = path.name.lower().removesuffix(".gz").endswith(".tsv")
    delimiter = "\t" if tabbed else max(",;\t|", key=first.count)
    return next(csv.reader([first], delimiter=delimiter), []), delimiter


def _is_array(path: Path) -> bool:
    """Whether a JSON file is one array and not an object a line."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as file:
        start = file.read(4096).removeprefix(codecs.BOM_UTF8)
    return start.lstrip().startswith(b"[")


def _json_objects(path: Path) -> str:
    return f"read_json_objects({quoted(path)}, format='auto')"


def _json_keys(con: Connection, path: Path) -> list[str]:
    sample = f"SELECT unnest(json_keys(json)) AS k FROM (SELECT json FROM {_json_objects(path)}"
    rows = con.raw_sql(f"SELECT DISTINCT k FROM ({sample} LIMIT {JSON_SAMPLE})) ORDER BY k")
    return [key for (key,) in rows.fetchall()]


def _json_path(key: str) -> str:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return quoted(f'$."{escaped}"')


def _describe_parquet(con: Connection, path: Path) -> list[tuple[str, str]]:
    rows = con.raw_sql(f"DESCRIBE SELECT * FROM read_parquet({quoted(path)})").fetchall()
    return [(row[0], row[1]) for row in rows]


def _parquet_text(name: str, type_: str) -> str:
    column = _identifier(name)
    source = f"to_json({column})" if type_.endswith("]") else column
    return f"CAST({source} AS VARCHAR) AS {column}"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
