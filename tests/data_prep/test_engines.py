"""What each engine does in its own way, on both."""

import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recllm.config.schema import DataSection
from recllm.data_prep.engines import java
from recllm.data_prep.engines._parts import ROW_GROUP, join_parts
from recllm.data_prep.ingest import Ingest
from recllm.data_prep.tables import (
    materialise,
    number,
    read,
    scalars,
    session,
    shrink,
    size,
    write,
)
from recllm.errors import UserError

from .conftest import make_recipe

KEYS = ["a", "B", "é", "10", "9", "", " ", "aa", "😀", "z\n", "Z"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with `key`, `place` (in no order) and `value`, in several row groups."""
    rng = random.Random(0)
    places = list(range(2000))
    rng.shuffle(places)
    table = pa.table(
        {
            "key": [rng.choice(KEYS) for _ in places],
            "place": pa.array(places, pa.int64()),
            "value": pa.array([rng.randrange(50) for _ in places], pa.int32()),
        }
    )
    path = tmp_path_factory.mktemp("rows") / "it's [1]* _rows:.parquet"
    pq.write_table(table, path, row_group_size=300)
    return path


def test_numbers_follow_the_order_of_bytes(engine: DataSection, rows: Path) -> None:
    with session(engine) as con:
        keys = read(con, rows).select("key").distinct()
        numbered = number(con, keys, "n", ["key"])
        found = {r["key"]: r["n"] for r in numbered.to_pyarrow().to_pylist()}
    assert found == {key: n for n, key in enumerate(sorted(KEYS, key=str.encode))}


def test_numbers_have_no_gaps(engine: DataSection, rows: Path) -> None:
    with session(engine) as con:
        table = read(con, rows)
        sorted_ = number(con, table, "n", ["value", "place"])
        anyhow = number(con, table.filter(table.value < 40), "n")
        none = number(con, table.filter(table.value < 0), "n", ["place"])
        ordered = sorted_.order_by("n").to_pyarrow().to_pylist()
        assert sorted(anyhow.to_pyarrow()["n"].to_pylist()) == list(
            range(scalars(anyhow.aggregate(n=anyhow.count()))["n"])
        )
        assert none.to_pyarrow().num_rows == 0
    assert [r["n"] for r in ordered] == list(range(2000))
    assert ordered == sorted(ordered, key=lambda r: (r["value"], r["place"]))


@pytest.mark.parametrize("in_order", [True, False])
def test_files_are_one_and_in_order(
    engine: DataSection, rows: Path, tmp_path: Path, in_order: bool
) -> None:
    expected: dict[str, int] = defaultdict(int)
    for row in pq.read_table(rows).to_pylist():
        expected[row["key"]] += row["value"]
    with session(engine) as con:
        table = materialise(con, read(con, rows))
        assert size(con, table) == 2000
        sums = table.group_by("key").aggregate(sum=table.value.sum())
        write(con, sums.order_by("key"), tmp_path / "sums.parquet", in_order)
    assert (tmp_path / "sums.parquet").is_file()
    written = pq.read_table(tmp_path / "sums.parquet").to_pylist()
    assert written == [{"key": key, "sum": expected[key]} for key in sorted(KEYS, key=str.encode)]


def test_a_table_shrinks_until_it_keeps_its_rows(engine: DataSection, rows: Path) -> None:
    def step(left: Any) -> Any:  # the largest goes, and what is left counts for one less
        larger = left.aggregate(most=left.value.max())
        return (
            left.cross_join(larger)
            .filter(lambda t: (t.value < t.most) | (t.value < 10))
            .select("key", "place", value=lambda t: (t.value - 1).cast("int32"))
        )

    values = [row["value"] for row in pq.read_table(rows).to_pylist()]
    with session(engine) as con:
        left = shrink(con, read(con, rows), step)
        found = sorted(left.to_pyarrow()["value"].to_pylist())
        assert left.schema() == read(con, rows).schema()
    before = None
    while len(values) != before:
        before, most = len(values), max(values)
        values = [value - 1 for value in values if value < most or value < 10]
    assert found == sorted(values) and values


def test_rows_are_told_their_place_in_the_file(engine: DataSection, rows: Path) -> None:
    with session(engine) as con:
        found = read(con, rows, place="n").order_by("n").to_pyarrow().to_pylist()
    written = pq.read_table(rows).to_pylist()
    assert found == [row | {"n": n} for n, row in enumerate(written)]


def test_nothing_is_written_without_an_order(
    engine: DataSection, rows: Path, tmp_path: Path
) -> None:
    with session(engine) as con, pytest.raises(ValueError, match="must end in an order_by"):
        write(con, read(con, rows), tmp_path / "rows.parquet")
    assert not list(tmp_path.iterdir())


def test_an_empty_table_is_written_whole(engine: DataSection, rows: Path, tmp_path: Path) -> None:
    with session(engine) as con:
        table = read(con, rows)
        write(con, table.filter(table.value < 0).order_by("place"), tmp_path / "none.parquet")
    written = pq.read_table(tmp_path / "none.parquet")
    assert written.schema.names == ["key", "place", "value"] and not written.num_rows


def test_parts_are_joined_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    sizes = {2: 7, 10: 50_000, 99_999: 0, 100_000: ROW_GROUP + 1}
    start = 0
    for part, rows in sizes.items():
        table = pa.table({"n": pa.array(range(start, start + rows), pa.int64())})
        pq.write_table(table, parts / f"part-{part:05d}-x.c000.snappy.parquet")
        start += rows
    (parts / "_SUCCESS").touch()
    schema = pa.schema({"n": pa.int32()})
    join_parts(parts, tmp_path / "whole.parquet", schema)
    whole = pq.ParquetFile(tmp_path / "whole.parquet")
    assert whole.read()["n"].to_pylist() == list(range(start))
    assert whole.schema_arrow == schema
    groups = [whole.metadata.row_group(n).num_rows for n in range(whole.num_row_groups)]
    assert max(groups) <= ROW_GROUP and sum(n < 50_000 for n in groups) <= 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"engine": "sparc"}, r"data\.engine: expected 'duckdb' or 'spark', found 'sparc'"),
        ({"spark": {"master": "local[2]"}}, "spark is set, but engine is 'duckdb'"),
        ({"engine": "spark", "spark": {"master": "localhost"}}, "expected a Spark master such as"),
        ({"engine": "spark", "spark": {"mastr": "yarn"}}, "did you mean 'master'"),
        (
            {"engine": "spark", "spark": {"options": {"executor.memory": "1g"}}},
            "expected names that begin with 'spark.', found 'executor.memory'",
        ),
        (
            {"engine": "spark", "spark": {"options": {"spark.sql.session.timeZone": "CET"}}},
            "'spark.sql.session.timeZone' cannot be set here: times are read as UTC",
        ),
        (
            {"engine": "spark", "spark": {"options": {"spark.sql.warehouse.dir": "tables"}}},
            "expected an absolute path",
        ),
    ],
)
def test_recipes_that_cannot_be(data: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_recipe(**data)


def test_the_engine_is_no_part_of_the_key() -> None:
    there = {"engine": "spark", "spark": {"master": "yarn", "options": {"spark.x": 1}}}
    assert Ingest(make_recipe(**there)).settings() == Ingest(make_recipe()).settings()


def test_what_spark_needs_is_asked_for_before_work_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Ingest(make_recipe(engine="spark"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"data\.engine is spark, but no Java was found"):
        stage.check()
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_292\"' >&2\n")
    old.chmod(0o755)
    with pytest.raises(UserError, match="expected Java 17 or newer, found 8"):
        stage.check()
    without = mock.patch.object(java.importlib.util, "find_spec", return_value=None)
    with without, pytest.raises(UserError, match=r"PySpark is not installed: pip install 'rec"):
        stage.check()
    Ingest(make_recipe()).check()


@pytest.mark.slow
def test_a_master_that_does_not_answer_is_one_line(spark: DataSection, tmp_path: Path) -> None:
    code = (
        "from recllm.config.schema import SparkSection\n"
        "from recllm.data_prep.engines.choice import engine\n"
        "from recllm.errors import UserError\n"
        "settings = SparkSection(master='k8s://nowhere.invalid')\n"
        "try:\n"
        "    engine('spark').session(settings).__enter__()\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )  # fmt: skip
    assert done.stdout.startswith("Spark cannot be started on data.spark.master 'k8s://nowhere")
    assert done.stdout.count("\n") == 1
    assert not list(tmp_path.iterdir())
