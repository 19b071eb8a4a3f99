"""What is written is in order, also where DuckDB is spared the sort."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recllm.data_prep.engines.duckdb import _is_in_order
from recllm.data_prep.tables import materialise, session, write

Make = Callable[[Any], Any]


@pytest.fixture
def con() -> Iterator[Any]:
    with session() as opened:
        yield opened


@pytest.mark.parametrize(
    ("keys", "make", "sorts"),
    [
        ([0, 1, 1, 3], lambda t: t, False),
        ([0, 1, 2, 3], lambda t: t.filter(t.key > 0).mutate(more=t.key + 1), False),
        ([0, 2, 1, 3], lambda t: t, True),
        ([0, 1, None, 3], lambda t: t, True),
        ([0, 1, 2, 3], lambda t: t.mutate(key=-t.key), True),
    ],
    ids=["ordered", "row by row", "unordered", "null", "reversed"],
)
def test_what_does_not_come_in_order_is_sorted(
    con: Any, tmp_path: Path, keys: list[int | None], make: Make, sorts: bool
) -> None:
    table = make(materialise(con, ibis.memtable({"key": keys}, schema={"key": "int64"})))
    with mock.patch.object(con, "to_parquet", wraps=con.to_parquet) as written:
        write(con, table.order_by("key"), tmp_path / "t.parquet", in_order=True)
    assert written.call_count == 1 + sorts
    found = pq.read_table(tmp_path / "t.parquet")["key"].to_pylist()
    assert found == sorted(found, key=lambda key: (key is None, key))


@pytest.mark.parametrize(
    "rows", [[(0, 2), (1, 0), (1, 0), (2, 1)], [(0, 2), (1, 1), (1, 0)], [(1, 0), (0, 1)], []]
)
def test_order_by_several_columns(con: Any, tmp_path: Path, rows: list[tuple[int, int]]) -> None:
    table = pa.table({"first": [r[0] for r in rows], "second": [r[1] for r in rows]})
    pq.write_table(table.cast(pa.schema({"first": "int64", "second": "int64"})), tmp_path / "t")
    assert _is_in_order(con, tmp_path / "t", ["first", "second"]) == (rows == sorted(rows))


def test_many_rows_keep_their_order(con: Any, tmp_path: Path) -> None:
    rows = ibis.range(1_000_000).unnest().name("key").as_table()
    table = materialise(con, rows)
    write(con, table.filter(table.key % 3 != 0).order_by("key"), tmp_path / "t.parquet", True)
    found = pq.read_table(tmp_path / "t.parquet")["key"].to_pylist()
    assert found == [key for key in range(1_000_000) if key % 3]
