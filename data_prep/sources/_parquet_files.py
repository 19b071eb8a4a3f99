"""Parquet in DuckDB, as `_reading.load` gives it: read where it is used, not copied."""

from collections.abc import Collection, Mapping
from pathlib import Path

from recllm.data_prep.sources._text_files import identifier
from recllm.data_prep.tables import Connection, Table, query, quoted

#: Types that int64 and float64 hold as they are. (Of a REAL the text says what was meant.)
NUMBER_TYPES = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DOUBLE")


def read_parquet(
    con: Connection, path: Path, columns: Mapping[str, str], numbers: Collection[str]
) -> Table:
    """The columns (new name to the file's own); values become text but for `numbers`.

    Nothing is read yet, so that a damaged file is found where the table is used.
    """
    types = dict(describe_parquet(con, path))
    fields = ", ".join(
        _as_it_is(own, new)
        if new in numbers and types[own] in NUMBER_TYPES
        else _as_text(own, new, types[own])
        for new, own in columns.items()
    )
    return query(
        con,
        f"SELECT {fields}, file_row_number AS row, NULL::VARCHAR AS problem, NULL::VARCHAR AS raw "
        f"FROM read_parquet({quoted(path)}, file_row_number = true)",
    )


def describe_parquet(con: Connection, path: Path) -> list[tuple[str, str]]:
    """The columns of a Parquet file and their types."""
    rows = con.raw_sql(f"DESCRIBE SELECT * FROM read_parquet({quoted(path)})").fetchall()
    return [(row[0], row[1]) for row in rows]


def _as_it_is(own: str, new: str) -> str:
    return f"{identifier(own)} AS {identifier(new)}"


def _as_text(own: str, new: str, type_: str) -> str:
    source = f"to_json({identifier(own)})" if type_.endswith("]") else identifier(own)
    return f"CAST({source} AS VARCHAR) AS {identifier(new)}"
