"""What is written is in order, also where DuckDB is spared the sort."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ibis
import pyarrow.parquet as pq
import pytest

from recllm.data_prep.engines import duckdb
from recllm.data_prep.tables import materialise, session, write

Make = Callable[[Any], Any]


@pytest.fixture
def con() -> Iterator[Any]:
    with session() as opened:
        yield opened


@pytest.mark.parametrize(
    ("keys", "make", "spared"),
    [
        ([0, 1, 1, 3], lambda t: t, True),
        ([0, 1, 2, 3], lambda t: t.filter(t.key > 0).mutate(more=t.key + 1), True),
        ([0, 2, 1, 3], lambda t: t, False),
        ([0, 1, None, 3], lambda t: t, False),
        ([0, 1, 2, 3], lambda t: t.mutate(key=-t.key), False),
        ([0, 1, 2, 3], lambda t: t.join(t.select("key"), "key"), False),
        ([0, 1, 2, 3], lambda t: t.mutate(sum=t.key.sum().over(group_by=t.key % 2)), False),
        ([0, 1, 2, 3], lambda t: t.distinct(), False),
    ],
    ids=["ordered", "row by row", "unordered", "null", "reversed", "join", "window", "distinct"],
)
def test_only_an_idle_sort_is_left_out(
    con: Any, tmp_path: Path, keys: list[int | None], make: Make, spared: bool
) -> None:
    table = make(materialise(con, ibis.memtable({"key": keys}, schema={"key": "int64"})))
    table = table.order_by("key")
    assert (duckdb._without_idle_sort(table) is not table) == spared
    write(con, table, tmp_path / "t.parquet")
    found = pq.read_table(tmp_path / "t.parquet")["key"].to_pylist()
    assert found == sorted(found, key=lambda key: (key is None, key))


def test_many_rows_keep_their_order(con: Any, tmp_path: Path) -> None:
    rows = ibis.range(1_000_000).unnest().name("key").as_table()
    table = materialise(con, rows)
    write(con, table.filter(table.key % 3 != 0).order_by("key"), tmp_path / "t.parquet")
    found = pq.read_table(tmp_path / "t.parquet")["key"].to_pylist()
    assert found == [key for key in range(1_000_000) if key % 3]
