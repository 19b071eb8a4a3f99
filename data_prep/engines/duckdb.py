"""DuckDB: in this process, on all its cores, on disk where the memory does not suffice."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import psutil

from recllm.config.schema import SparkSection
from recllm.data_prep.engines import Column, Connection, Engine, Table, new_name

#: Bytes that DuckDB may hold before it goes to disk, or half of the machine's memory where this is
#: less. With it, 20M interactions are prepared in less than 4 GB.
MEMORY_LIMIT = 2_500_000_000


class DuckDB(Engine):
    """A database in memory that keeps rows in order and may spill to disk."""

    backend: ClassVar[str] = "duckdb"

    @contextmanager
    def session(self, settings: SparkSection | None) -> Iterator[Connection]:
        """See `Engine.session`."""
        import ibis

        del settings
        with tempfile.TemporaryDirectory(prefix="recllm-duckdb-") as spill:
            con = ibis.duckdb.connect(temp_directory=spill)
            con.raw_sql("SET TimeZone = 'UTC'")
            con.raw_sql("SET enable_progress_bar = false")
            con.raw_sql("SET preserve_insertion_order = true")
            limit = min(MEMORY_LIMIT, psutil.virtual_memory().total // 2)
            con.raw_sql(f"SET memory_limit = '{limit}B'")
            try:
                yield con
            finally:
                con.disconnect()

    def materialise(self, con: Connection, table: Table) -> Table:
        """As a temporary table."""
        return con.create_table(new_name("table"), table, temp=True)

    def discard(self, con: Connection, table: Table) -> None:
        """See `tables.discard`."""
        con.raw_sql(f"DROP TABLE {table.get_name()}")

    def read(self, con: Connection, path: Path) -> Table:
        """See `tables.read`."""
        return select(con, f"SELECT * FROM read_parquet({quoted(path)})")

    def write(self, con: Connection, table: Table, path: Path) -> None:
        """See `tables.write`."""
        con.to_parquet(_without_idle_sort(table), path)

    def scalars(self, table: Table) -> dict[str, Any]:
        """See `tables.scalars`."""
        return table.to_pyarrow().to_pylist()[0]

    def number(self, con: Connection, table: Table, name: str, order_by: Sequence[str]) -> Table:
        """By a window over the whole table."""
        import ibis

        del con
        numbers = ibis.row_number()
        if order_by:
            numbers = numbers.over(order_by=[table[column] for column in order_by])
        return table.mutate(**{name: numbers})

    def collect(self, column: Column, order_by: Column) -> Column:
        """See `tables.collect`."""
        return column.collect(order_by=order_by)

    def is_json(self, text: Column) -> Column:
        """See `values.is_json`."""
        import ibis

        @ibis.udf.scalar.builtin
        def json_valid(value: str) -> bool: ...

        return json_valid(text)

    def parse_list(self, text: Column) -> Column:
        """See `values.parse_list`."""
        import ibis

        @ibis.udf.scalar.builtin
        def from_json(value: str, structure: str) -> list[str]: ...

        return from_json(text, '["VARCHAR"]')

    def microseconds(self, time: Column) -> Column:
        """See `Engine.microseconds`."""
        import ibis
        import ibis.expr.datatypes as dt

        @ibis.udf.scalar.builtin(signature=((dt.Timestamp(timezone="UTC"),), dt.int64))
        def epoch_us(value): ...

        return epoch_us(time)


def _without_idle_sort(table: Table) -> Table:
    """The table without its sort by one column where its rows come in this order anyway.

    The scan of a table or a file, and what is done to rows one by one, keeps their order; nothing
    else is trusted to.
    """
    import ibis.expr.operations as ops

    sort = table.op()
    if not isinstance(sort, ops.Sort) or len(sort.keys) != 1 or sort.keys[0].descending:
        return table
    relations = sort.parent.find(ops.Relation)
    one_by_one = (ops.DatabaseTable, ops.Project, ops.Filter, ops.DropColumns)
    if not all(isinstance(relation, one_by_one) for relation in relations):
        return table
    if sort.parent.find((ops.WindowFunction, ops.Analytic, ops.Subquery, ops.Unnest)):
        return table
    rows = sort.parent.to_expr()
    key: Column = sort.keys[0].arg.to_expr()
    keys = rows.select(key=key)
    keys = keys.mutate(before=keys.key.lag())
    misplaced = keys.filter((keys.key < keys.before) | keys.key.isnull())
    return table if misplaced.count().to_pyarrow().as_py() else rows


def select(con: Connection, sql: str) -> Table:
    """A SELECT in SQL as a table; it runs where the table is used.

    For what Ibis does not reach: the readers' options. (`Backend.sql` would do, but Ibis 12 calls
    a method there that DuckDB 2 no longer has.)
    """
    name = new_name("view")
    con.raw_sql(f"CREATE TEMP VIEW {name} AS {sql}")
    return con.table(name)


def quoted(value: str | Path) -> str:
    """A string literal of DuckDB's SQL."""
    return "'" + str(value).replace("'", "''") + "'"
