"""What runs the relational work: DuckDB in this process, or Spark. One file each.

The work itself is written once, in Ibis; an engine holds what the two cannot be told in the same
words. `recllm.data_prep.tables` is the way to it for everybody else.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from recllm.config.schema import SparkSection

# Ibis backends, tables and columns. The backends share no type that has all that is used here,
# and Ibis types every `table.name` as a Column without operators, under which nothing type-checks.
Connection: TypeAlias = Any
Table: TypeAlias = Any
Column: TypeAlias = Any

_numbers = count()


def new_name(kind: str) -> str:
    """A name that no table of this process has."""
    return f"recllm_{kind}_{next(_numbers)}"


class Engine(ABC):
    """What `recllm.data_prep.tables` does in another way on each engine; see there."""

    #: The name of its Ibis backend.
    backend: ClassVar[str]

    @abstractmethod
    @contextmanager
    def session(self, settings: SparkSection | None) -> Iterator[Connection]:
        """A session that reads times as UTC; its tables are gone when it ends."""

    @abstractmethod
    def materialise(self, con: Connection, table: Table) -> Table:
        """See `tables.materialise`."""

    def shrink(self, con: Connection, table: Table, step: Callable[[Table], Table]) -> Table:
        """See `tables.shrink`."""
        before = self.materialise(con, table)
        while True:
            left = self.materialise(con, step(before))
            done = self.size(con, left) == self.size(con, before)
            con.raw_sql(f"DROP TABLE {before.get_name()}")
            if done:
                return left
            before = left

    @abstractmethod
    def read(self, con: Connection, path: Path, place: str | None) -> Table:
        """See `tables.read`."""

    @abstractmethod
    def write(self, con: Connection, table: Table, path: Path, in_order: bool) -> None:
        """See `tables.write`."""

    @abstractmethod
    def size(self, con: Connection, table: Table) -> int:
        """See `tables.size`."""

    @abstractmethod
    def collect(self, table: Table) -> list[dict[str, Any]]:
        """See `tables.collect`."""

    @abstractmethod
    def number(self, con: Connection, table: Table, name: str, order_by: Sequence[str]) -> Table:
        """See `tables.number`."""

    @abstractmethod
    def is_json(self, text: Column) -> Column:
        """See `values.is_json`."""

    @abstractmethod
    def parse_list(self, text: Column) -> Column:
        """See `values.parse_list`."""

    @abstractmethod
    def microseconds(self, time: Column) -> Column:
        """Microseconds since 1970 of a timestamp, int64."""
