"""A DuckDB session for relational work in Ibis, and Parquet in and out of it."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:  # Ibis takes half a second to import
    from ibis.backends.duckdb import Backend

#: The session that a table lives in.
Connection: TypeAlias = "Backend"

# An Ibis table and a column of it. Ibis types every `table.name` as a Column without operators,
# under which no expression type-checks.
Table: TypeAlias = Any
Column: TypeAlias = Any

_table_numbers = count()


@contextmanager
def session() -> Iterator[Connection]:
    """An in-memory DuckDB that keeps rows in order, reads times as UTC and may spill to disk."""
    import ibis

    with tempfile.TemporaryDirectory(prefix="recllm-duckdb-") as spill:
        con = ibis.duckdb.connect(temp_directory=spill)
        con.raw_sql("SET TimeZone = 'UTC'")
        con.raw_sql("SET enable_progress_bar = false")
        con.raw_sql("SET preserve_insertion_order = true")
        try:
            yield con
        finally:
            con.disconnect()


def query(con: Connection, sql: str) -> Table:
    """A SELECT in SQL as an Ibis table; it runs where the table is used.

    For the file readers, whose options Ibis does not reach. (`Backend.sql` would do, but Ibis 12
    calls a method there that DuckDB 2 no longer has.)
    """
    name = f"view_{next(_table_numbers)}"
    con.raw_sql(f"CREATE TEMP VIEW {name} AS {sql}")
    return con.table(name)


def materialise(con: Connection, table: Table) -> Table:
    """Run the query once and keep its rows for as long as the session lasts."""
    return con.create_table(f"table_{next(_table_numbers)}", table, temp=True)


def discard(con: Connection, table: Table) -> None:
    """Free the rows of a materialised table."""
    con.raw_sql(f"DROP TABLE {table.get_name()}")


def read(con: Connection, path: Path) -> Table:
    """A Parquet file as a table."""
    return query(con, f"SELECT * FROM read_parquet({quoted(path)})")


def write(con: Connection, table: Table, path: Path) -> None:
    """Write the rows of a table, in its order, to a Parquet file."""
    con.to_parquet(table, path)


def scalars(table: Table) -> dict[str, Any]:
    """The one row of an aggregation, as Python values."""
    return table.to_pyarrow().to_pylist()[0]


def number(con: Connection, table: Table, name: str, order_by: Sequence[str]) -> Table:
    """The rows with their places, from 0 without gaps, in the column `name` (int64).

    Args:
        order_by: columns of the table, by which no two rows are equal.
    """
    import ibis

    del con
    places = ibis.row_number().over(order_by=[table[column] for column in order_by])
    return table.mutate(**{name: places})


def quoted(value: str | Path) -> str:
    """A string literal of SQL."""
    return "'" + str(value).replace("'", "''") + "'"
