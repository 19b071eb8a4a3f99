"""One recipe on DuckDB and on Spark: the same tables, row for row."""

import csv
import gzip
import io
import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from recllm.config.schema import DataSection
from recllm.data_prep.sources.files import Files
from recllm.data_prep.statistics.curves import (
    interactions_by_popularity,
    interactions_over_time,
    sequences_by_length,
)
from recllm.data_prep.statistics.figures import describe_log, read_log
from recllm.data_prep.tables import session
from recllm.errors import UserError

from .conftest import Prepared, engine_keys, on_spark, run_source

Prepare = Callable[..., Prepared]
Records = list[dict[str, Any]]
TABLES = {
    "ingest": ("interactions", "items"),
    "filter": ("interactions", "owners", "items"),
    "split": ("sequences", "train", "valid", "test"),
}
USERS = ["007", "7", "a b", " a", "O'Neil", 'say "hi"', "x,y", "é", "E", "😀", "u\\n", "-1"]
#: Ids that a line does not hold.
BROKEN_LINES = ["two\nlines", '"quoted\n', "carriage\r\nreturn"]


def make_log(users: list[str], count: int = 260) -> Records:
    """Interactions with ties, repeats, odd ids, times of several forms and ratings with gaps."""
    rng = random.Random(3)
    few = {"when": "1500000000", "stars": "5"}
    records = [{"who": "seldom", "what": "item 1"} | few, {"who": users[0], "what": "rare"} | few]
    for _ in range(count):
        time = 1_500_000_000 + 3600 * rng.randrange(40)
        moment = datetime.fromtimestamp(time, UTC)
        records.append(
            {
                "who": rng.choice(users),
                "what": f"item {rng.randrange(14)}" if rng.random() < 0.9 else "ß;|x",
                "when": rng.choice([str(time), f"{time}.25", moment.isoformat()]),
                "stars": rng.choice(["5", "4.5", "", "1e0", "nan"]),
            }
        )
    return records


def make_items() -> Records:
    """Most items: titles of all kinds, a few missing, and lists."""
    texts = ["Plain", "  spaced\t", "", None, "[REC]", 'a "b"', "l1\nl2", "[1, 2]", "ü"]
    return [
        {
            "item_id": f"item {n}",
            "title": texts[n % len(texts)],
            "categories": json.dumps(["Ä", "B, C", "]"][: n % 4]) if n % 3 else "A|B",
            "unused": "x",
        }
        for n in range(12)
    ]


def as_csv(records: Records, delimiter: str = ",") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def as_json_lines(records: Records) -> str:
    lists = [
        {k: json.loads(v) if v and k == "categories" and v[0] == "[" else v for k, v in r.items()}
        for r in records
    ]
    return "".join(json.dumps(r, ensure_ascii=n % 2 == 0) + "\n" for n, r in enumerate(lists))


def write_records(records: Records, path: Path) -> Path:
    """A file of the format that its name says."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path, row_group_size=64)
        return path
    text = {
        ".csv": lambda: as_csv(records),
        ".tsv": lambda: as_csv(records, "\t"),
        ".jsonl": lambda: as_json_lines(records),
        ".json": lambda: json.dumps(records, indent=1),
    }[path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix]()
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def options(folder: Path, kind: str, users: list[str]) -> dict[str, Any]:
    """The data section for a log of one format, all but the engine."""
    return {
        "source": "files",
        "path": str(write_records(make_log(users), folder / f"log.{kind}")),
        "items": str(write_records(make_items(), folder / f"things.{kind}")),
        "columns": {"user": "who", "item": "what", "time": "when", "rating": "stars"},
        "k_core": 3,
    }


def assert_same(found: Mapping[str, Path], expected: Mapping[str, Path]) -> None:
    """Every table of every stage: the same columns, types and rows, in the same order."""
    assert found.keys() == expected.keys()
    for stage in found:
        for name in TABLES[stage]:
            one, other = (pq.read_table(f[stage] / f"{name}.parquet") for f in (found, expected))
            # DuckDB also says of a column that it holds no nulls
            assert one.schema.names == other.schema.names, (stage, name)
            assert one.schema.types == other.schema.types, (stage, name)
            assert one.num_rows, (stage, name)
            assert one.to_pylist() == other.to_pylist(), (stage, name)


def described(filtered: Path, data: DataSection | None) -> dict[str, float]:
    """The figures of a filtered log, those of a group under `group figure`, and its curves."""
    with session(data) as con:
        log = read_log(con, filtered)
        found = describe_log(con, log)
        curves = [
            sequences_by_length(log),
            interactions_by_popularity(con, log),
            interactions_over_time(log),
        ]
    for number, curve in enumerate(curves):
        found[f"curve {number}"] = {f"{n}": y for n, (_, y) in enumerate(curve)}
    groups = {name: value for name, value in found.items() if isinstance(value, dict)}
    inner = {f"{name} {key}": value for name in groups for key, value in groups[name].items()}
    return {name: value for name, value in found.items() if name not in groups} | inner


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "split"),
    [("csv", "leave-one-out"), ("jsonl.gz", "leave-one-out"), ("parquet", "temporal")],
)
def test_the_tables_are_those_of_duckdb(
    kind: str, split: str, spark: DataSection, prepare: Prepare, tmp_path: Path
) -> None:
    data = options(tmp_path, kind, USERS + BROKEN_LINES) | {"split": split}
    expected, found = prepare(**data), prepare(**data, **engine_keys(spark))
    assert_same(found.folders, expected.folders)
    assert found.counts == expected.counts
    assert expected.counts["ingest"]["fractional_times"] > 0
    assert expected.counts["filter"]["interactions_below_k_core"] > 0
    filtered = expected.folders["filter"]
    assert described(filtered, spark) == pytest.approx(described(filtered, None))


@pytest.mark.parametrize("kind", ["tsv.gz", "json"])
def test_the_other_formats(kind: str, spark: DataSection, prepare: Prepare, tmp_path: Path) -> None:
    data = options(tmp_path, kind, USERS)
    expected, found = prepare("ingest", **data), prepare("ingest", **data, **engine_keys(spark))
    assert_same(found.folders, expected.folders)
    assert found.counts == expected.counts


@pytest.mark.slow
def test_on_a_cluster(spark: DataSection, prepare: Prepare, tmp_path: Path) -> None:
    """Executors in processes of their own, which share nothing with the driver but files."""
    data = options(tmp_path, "csv", USERS)
    expected = prepare(**data)
    recipe = {
        "output_dir": str(tmp_path / "run"),
        "cache_dir": str(tmp_path / "cache"),
        "model": {"from_scratch": {"hidden": 32, "heads": 2}},
        "data": data
        | {
            "engine": "spark",
            "spark": {
                "master": "local-cluster[1,1,512]",
                "options": {
                    "spark.executor.memory": "512m",
                    "spark.sql.shuffle.partitions": 3,
                    "spark.sql.warehouse.dir": str(tmp_path / "shared"),
                },
            },
        },
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    place = tmp_path / "elsewhere"
    place.mkdir()
    code = "from recllm.cli.main import main; main()"
    call = [sys.executable, "-c", code, "run", str(tmp_path / "recipe.yaml"), "--until", "split"]
    done = subprocess.run(call, capture_output=True, text=True, cwd=place, check=False)
    assert done.returncode == 0, done.stderr
    folders = {stage: next((tmp_path / "cache" / stage).glob("*/")) for stage in TABLES}
    assert_same(folders, expected.folders)
    assert not list((tmp_path / "shared").glob("recllm-spark-*"))
    assert not list(place.iterdir())


def ingest(path: Path, engine: DataSection, out: Path, **options: Any) -> Records:
    out.mkdir(exist_ok=True)
    run_source(Files(path=path, **options), out, engine)
    return pq.read_table(out / "interactions.parquet").to_pylist()


def test_rows_are_numbered_over_many_stretches(spark: DataSection, tmp_path: Path) -> None:
    """A file that several tasks read: every row stands where it stood."""
    assert spark.engine == "spark"
    sizes = {"spark.sql.files.maxPartitionBytes": 4096, "spark.sql.files.openCostInBytes": 0}
    records = [{"user": f"u{n}", "item": f"i{n % 7}"} for n in range(3000)]
    for kind in ("csv", "jsonl", "parquet"):
        path = write_records(records, tmp_path / f"log.{kind}")
        assert path.stat().st_size > 3 * 4096
        found = ingest(path, on_spark(**sizes), tmp_path / kind)
        assert [r["user_id"] for r in found] == [r["user"] for r in records]
        assert [r["row"] for r in found] == list(range(3000))


MISTAKES = {
    "a short line": ("log.csv", b"user,item,time\na,x,1\nb,y\n", "wrong number of columns.*line 3"),
    "a long line": ("log.csv", b"user,item\na,x\nb,y,1\n", "wrong number of columns.*line 3"),
    # after what is read for the header
    "not UTF-8": (
        "log.csv",
        b"user,item\n" + 4000 * b"a,x\n" + b"a,caf\xe9\n",
        "not UTF-8.*line 4002",
    ),
    "half an object": (
        "log.jsonl",
        b'{"user": 1, "item": 2}\n{"user": 1, \n',
        "Malformed JSON|not JSON.*line 2",  # noticed already where the keys are looked for
    ),
    "no object": ("log.jsonl", b'{"user": 1, "item": 2}\n17\n', "no JSON object.*line 2"),
    "JSON that is not UTF-8": (
        "log.jsonl",
        b'{"user":1,"item":2}\n{"user":1,"item":"\xe9"}\n',
        "not UTF-8.*line 2",
    ),
    "a truncated gz": (
        "log.csv.gz",
        gzip.compress(b"user,item\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(9999)))[
            :-99
        ],
        "cannot be read",
    ),
    "not gzip": ("log.csv.gz", b"user,item\na,x\n", "cannot be read"),
    "not Parquet": ("log.parquet", b"user,item\na,x\n", "cannot be read"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_clear_line(case: str, spark: DataSection, tmp_path: Path) -> None:
    name, content, message = MISTAKES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        ingest(tmp_path / name, spark, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


def test_typed_files_are_read_alike(engine: DataSection, tmp_path: Path) -> None:
    table = pa.table(
        {
            "user": pa.array([12345678.0, 1.0, 1e10]),
            "item": pa.array([2**63 + 1, 1, 2], pa.uint64()),
            "time": pa.array([1_500, 2_000_000_000, 3_999_999_999], pa.timestamp("ns", tz="UTC")),
            "rating": pa.array([0.1, None, 5.0], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    found = ingest(tmp_path / "log.parquet", engine, tmp_path / "out")
    assert [r["user_id"] for r in found] == ["12345678", "1", "10000000000"]
    assert [r["item_id"] for r in found] == [str(2**63 + 1), "1", "2"]
    assert [r["timestamp"] for r in found] == [0, 2, 3]
    assert [r["rating"] for r in found] == [0.1, None, 5.0]
