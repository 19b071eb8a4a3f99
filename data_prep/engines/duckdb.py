"""DuckDB: in this process, on all its cores, on disk where the memory does not suffice."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import psutil

from recllm.config.schema import SparkSection
from recllm.data_prep.engines import Column, Connection, Engine, Table, new_name

#: Bytes that DuckDB may hold before it goes to disk, or half of the machine's memory where this is
#: less. With it, 20M interactions are prepared in less than 4 GB.
MEMORY_LIMIT = 2_500_000_000
#: How Parquet is written. The second version's encodings take a quarter less time than the first's
#: and a third less room; giving up a column's dictionary early takes another quarter less time.
PARQUET = {"parquet_version": "V2", "dictionary_size_limit": 5000}


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

    def shrink(self, con: Connection, table: Table, step: Callable[[Table], Table]) -> Table:
        """The step is compiled once: on a small log that is most of its cost."""
        before = self.materialise(con, table)
        query, count, left = con.compile(step(before)), self.size(con, before), new_name("table")
        while True:
            con.raw_sql(f"CREATE TEMP TABLE {left} AS FROM {before.get_name()} LIMIT 0")
            [(kept,)] = con.raw_sql(f"INSERT INTO {left} {query}").fetchall()
            con.raw_sql(f"DROP TABLE {before.get_name()}")
            con.raw_sql(f"ALTER TABLE {left} RENAME TO {before.op().name}")
            if kept == count:
                return before
            count = kept

    def read(self, con: Connection, path: Path, place: str | None) -> Table:
        """See `tables.read`."""
        file = f"read_parquet({quoted(path)}, file_row_number = true)"
        placed = f', file_row_number AS "{place}"' if place else ""
        return select(con, f"SELECT * EXCLUDE file_row_number{placed} FROM {file}")

    def write(self, con: Connection, table: Table, path: Path, in_order: bool) -> None:
        """Rows that come in order need not be sorted; whether they did, the file itself says.

        DuckDB keeps the order of what it scans through most of what it does, but promises it
        of little.
        """
        if in_order:
            sort = table.op()
            con.to_parquet(sort.parent.to_expr(), path, **PARQUET)
            if _is_in_order(con, path, [key.arg.name for key in sort.keys]):
                return
        con.to_parquet(table, path, **PARQUET)

    def size(self, con: Connection, table: Table) -> int:
        """See `tables.size`."""
        return con.raw_sql(f"SELECT count(*) FROM {table.get_name()}").fetchall()[0][0]

    def collect(self, table: Table) -> list[dict[str, Any]]:
        """Straight from DuckDB: Ibis would go by way of Arrow and pandas."""
        con = table.get_backend()
        found = con.raw_sql(con.compile(table)).fetchall()
        return [dict(zip(table.columns, row, strict=True)) for row in found]

    def number(self, con: Connection, table: Table, name: str, order_by: Sequence[str]) -> Table:
        """By a window over the whole table."""
        import ibis

        del con
        numbers = ibis.row_number()
        if order_by:
            numbers = numbers.over(order_by=[table[column] for column in order_by])
        return table.mutate(**{name: numbers})

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


def _is_in_order(con: Connection, path: Path, keys: Sequence[str]) -> bool:
    """Whether no row of a Parquet file is less than the one before it, and no key is null."""
    equal, misplaced = ["true"], []
    for key in keys:
        before = f'lag("{key}") OVER ()'
        misplaced += [f'"{key}" IS NULL', " AND ".join([*equal, f'"{key}" < {before}'])]
        equal.append(f'"{key}" = {before}')
    rows = f"SELECT {' OR '.join(misplaced)} AS misplaced FROM read_parquet({quoted(path)})"
    return not con.raw_sql(f"SELECT count(*) FROM ({rows}) WHERE misplaced").fetchall()[0][0]


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
