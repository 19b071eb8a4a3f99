"""Sessions for relational work in Ibis, and Parquet in and out of them.

Ingest, filter, split and statistics are written once and give the same tables, row for row, on
DuckDB and on Spark. Code that runs on both must know:

- A table has no order, not even one that was materialised sorted. What `write` gets ends in an
  `order_by` by which no two rows are equal, and rows are numbered by `number`.
- No window over a whole table (`row_number()` without `group_by`): Spark moves every row to one
  task for it. `number` does not. Nor `limit` with an offset: number the rows and choose.
- A window takes no `where`: not `x.min(where=c).over(w)` but `ibis.ifelse(c, x, None).min()`.
- A table holds no NaN: Spark's `isnull`, as Ibis asks for it, is true of it, DuckDB's is not.
- Text becomes values by `recllm.data_prep.values`: the engines' own casts and `strip` differ.
- Regular expressions are those that RE2 and Java share; the end of a text is `\\z`: Java's `$`
  also stands before a last line end. What replaces a match names no group: RE2's `\\1` is Java's
  `$1`.
- No Python functions in a query, and nothing of the size of the log in this process: `collect`
  and `scalars` are for aggregations.
"""

from collections.abc import Callable, Iterator, Sequence
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
    "materialise",
    "number",
    "query",
    "quoted",
    "read",
    "scalars",
    "session",
    "shrink",
    "size",
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


def shrink(con: Connection, table: Table, step: Callable[[Table], Table]) -> Table:
    """Take `step` from table to table until it leaves as many rows as it found; materialised.

    Args:
        step: what is left of a table: never more rows, of the same columns.
    """
    return engine(con.name).shrink(con, table, step)


def read(con: Connection, path: Path, place: str | None = None) -> Table:
    """A Parquet file as a table.

    Args:
        place: a column to add: the row's place in the file, from 0 (int64).
    """
    return engine(con.name).read(con, path, place)


def write(con: Connection, table: Table, path: Path, in_order: bool = False) -> None:
    """Write the rows of a table, in the order of its last `order_by`, to one Parquet file.

    Args:
        in_order: the rows probably come in this order by themselves, so that it may be quicker
            to write them as they come, and to sort only where they then are not.

    Raises:
        ValueError: the table says no order.
    """
    import ibis.expr.operations as ops

    if not isinstance(table.op(), ops.Sort):
        raise ValueError(f"{path}: what is written must end in an order_by")
    engine(con.name).write(con, table, path, in_order)


def size(con: Connection, table: Table) -> int:
    """How many rows a materialised table has."""
    return engine(con.name).size(con, table)


def collect(table: Table) -> list[dict[str, Any]]:
    """The rows of a small table, such as an aggregation, as Python values."""
    return engine(table.get_backend().name).collect(table)


def scalars(table: Table) -> dict[str, Any]:
    """The one row of an aggregation, as Python values."""
    [row] = collect(table)
    return row


def number(con: Connection, table: Table, name: str, order_by: Sequence[str] = ()) -> Table:
    """The rows with their places, from 0 without gaps, in the column `name` (int64).

    Args:
        order_by: columns of the table, by which no two rows are equal; without them, any order.
    """
    return engine(con.name).number(con, table, name, order_by)
