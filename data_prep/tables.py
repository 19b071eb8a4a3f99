"""Sessions for relational work in Ibis, and Parquet in and out of them.

Ingest, filter, split and statistics are written once and give the same tables, row for row, on
DuckDB and on Spark. Code that runs on both must know:

- A table has no order, not even one that was materialised sorted. What `write` gets ends in an
  `order_by` by which no two rows are equal, and rows are numbered by `number`.
- No window over a whole table (`row_number()` without `group_by`): Spark moves every row to one
  task for it. `number` does not. Nor `limit` with an offset: number the rows and choose.
- A window takes no `where`: not `x.min(where=c).over(w)` but `ibis.ifelse(c, x, None).min()`.
- Lists in an order are made by `collect`, not by Ibis's `collect(order_by=…)`.
- A table holds no NaN: Spark's `isnull`, as Ibis asks for it, is true of it, DuckDB's is not.
- Text becomes values by `recllm.data_prep.values`: the engines' own casts and `strip` differ.
- Regular expressions are those that RE2 and Java share; the end of a text is `\\z`: Java's `$`
  also stands before a last line end.
- No Python functions in a query, and nothing of the size of the log in this process: `scalars`
  is for aggregations.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recllm.config.schema import DataSection
from recllm.data_prep.engines import Column, Connection, Table
from recllm.data_prep.engines.choice import engine
from recllm.data_prep.engines.duckdb import quoted
from recllm.data_prep.engines.duckdb import select as query

__all__ = [
    "Column",
    "Connection",
    "Table",
    "collect",
    "discard",
    "materialise",
    "number",
    "query",
    "quoted",
    "read",
    "scalars",
    "session",
    "write",
]


@contextmanager
def session(data: DataSection | None = None) -> Iterator[Connection]:
    """A session of the engine that a recipe names, DuckDB where there is no recipe.

    Raises:
        UserError: the engine cannot be had here.
    """
    settings = data.spark if data else None
    with engine(data.engine if data else "duckdb").session(settings) as con:
        yield con


def materialise(con: Connection, table: Table) -> Table:
    """Run the query once and keep its rows for as long as the session lasts."""
    return engine(con.name).materialise(con, table)


def discard(con: Connection, table: Table) -> None:
    """Free the rows of a materialised table."""
    engine(con.name).discard(con, table)


def read(con: Connection, path: Path) -> Table:
    """A Parquet file as a table."""
    return engine(con.name).read(con, path)


def write(con: Connection, table: Table, path: Path) -> None:
    """Write the rows of a table, in the order of its last `order_by`, to one Parquet file."""
    engine(con.name).write(con, table, path)


def scalars(table: Table) -> dict[str, Any]:
    """The one row of an aggregation, as Python values."""
    return engine(table.get_backend().name).scalars(table)


def number(con: Connection, table: Table, name: str, order_by: Sequence[str] = ()) -> Table:
    """The rows with their places, from 0 without gaps, in the column `name` (int64).

    Args:
        order_by: columns of the table, by which no two rows are equal; without them, any order.
    """
    return engine(con.name).number(con, table, name, order_by)


def collect(column: Column, order_by: Column) -> Column:
    """An aggregation: the values of a group as a list, in the order of another column."""
    return engine(column.get_backend().name).collect(column, order_by)
