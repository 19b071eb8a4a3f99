"""The source `files`: formats, columns, times, ids, items, and what goes wrong."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recllm.data_prep.sources.files import Files
from recllm.errors import UserError

from .conftest import run_source

Write = Callable[[str, str], Path]
ROWS = [("007", "x", 30), ("b c", "y,z", 10), ("007", "é", 20)]


def ingest(out: Path, **options: Any) -> tuple[list[dict], list[dict], dict[str, int]]:
    folder = out / "ingested"
    folder.mkdir(exist_ok=True)
    counts = run_source(Files(**options), folder)
    log = pq.read_table(folder / "interactions.parquet").to_pylist()
    return log, pq.read_table(folder / "items.parquet").to_pylist(), counts


def log_in_format(suffix: str, folder: Path) -> Path:
    """ROWS as a file of one format."""
    path = folder / f"log{suffix}"
    delimiter = {".tsv": "\t", ".semicolon.csv": ";"}.get(suffix, ",")
    lines = [("user_id", "item_id", "timestamp"), *ROWS]
    text = "".join(delimiter.join(f'"{cell}"' for cell in line) + "\n" for line in lines)
    records = [dict(zip(lines[0], row, strict=True)) for row in ROWS]
    if "json" in suffix:
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    if suffix == ".json":
        text = json.dumps(records)
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif suffix.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        marked = suffix == ".csv"  # as Excel writes it: a byte order mark, CRLF
        path.write_bytes(
            (text.replace("\n", "\r\n") if marked else text).encode(
                "utf-8-sig" if marked else "utf-8"
            )
        )
    return path


SUFFIXES = [".csv", ".semicolon.csv", ".tsv", ".csv.gz", ".jsonl", ".jsonl.gz", ".json", ".parquet"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_formats(suffix: str, tmp_path: Path) -> None:
    log, items, counts = ingest(tmp_path, path=log_in_format(suffix, tmp_path))
    assert log == [
        {"row": row, "user_id": user, "item_id": item, "timestamp": time}
        for row, (user, item, time) in enumerate(ROWS)
    ]
    assert items == [{"item_id": i, "title": i} for i in sorted(i for _, i, _ in ROWS)]
    assert counts == {
        "order_only": 0,
        "file_order": 0,
        "fractional_times": 0,
        "interactions": 3,
        "items_titled_by_id": 3,
        "items": 3,
    }


def test_a_folder_with_brackets_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "it's [1]*"
    folder.mkdir()
    log, _, _ = ingest(tmp_path, path=log_in_format(".csv", folder))
    assert len(log) == 3


def test_mapped_columns_and_ratings(write_file: Write, tmp_path: Path) -> None:
    path = write_file("log.csv", "who,what,stars,when\na,x,4.5,100\nb,y,,90\n")
    items = write_file("things.csv", "what,name,kind\nx,An X,Letters\nz,A Z,Letters\n")
    columns = {
        "user": "who",
        "item": "what",
        "rating": "stars",
        "time": "when",
        "title": "name",
        "categories": "kind",
    }
    log, catalogue, counts = ingest(tmp_path, path=path, items=items, columns=columns)
    assert [(r["user_id"], r["item_id"], r["rating"]) for r in log] == [
        ("a", "x", 4.5),
        ("b", "y", None),
    ]
    assert catalogue == [
        {"item_id": "x", "title": "An X", "categories": "Letters"},
        {"item_id": "y", "title": "y", "categories": None},
        {"item_id": "z", "title": "A Z", "categories": "Letters"},
    ]
    assert (counts["items_missing_from_items_file"], counts["items_titled_by_id"]) == (1, 1)


TIMES = {
    "1260759144": 1260759144,
    "1260759144.0": 1260759144,
    "0": 0,
    "1970-01-02": 86400,
    "1970-01-01T00:01:00": 60,
    "1970-01-01T01:01:00+01:00": 60,
    "1970-01-01 00:01:00Z": 60,
}


@pytest.mark.parametrize("text", TIMES)
def test_times(text: str, write_file: Write, tmp_path: Path) -> None:
    path = write_file("log.csv", f"user,item,time\na,x,{text}\na,x,1\n")
    log, _, counts = ingest(tmp_path, path=path)
    assert [r["timestamp"] for r in log] == [TIMES[text], 1]
    assert (counts["order_only"], counts["fractional_times"]) == (0, 0)


def test_fractions_of_seconds_are_cut_and_counted(write_file: Write, tmp_path: Path) -> None:
    path = write_file("log.csv", "user,item,time\na,x,1.75\na,y,1970-01-01T00:00:01.5Z\na,z,3\n")
    log, _, counts = ingest(tmp_path, path=path)
    assert [r["timestamp"] for r in log] == [1, 1, 3]
    assert counts["fractional_times"] == 2


def test_times_of_a_typed_file(tmp_path: Path) -> None:
    times = pa.array([60_500, 120_000], pa.timestamp("ms", tz="Europe/Berlin"))
    table = pa.table({"user": [1, 2], "item": [1.0, 12.0], "time": times})
    pq.write_table(table, tmp_path / "log.parquet")
    log, _, _ = ingest(tmp_path, path=tmp_path / "log.parquet")
    assert [(r["user_id"], r["item_id"], r["timestamp"]) for r in log] == [
        ("1", "1", 60),
        ("2", "12", 120),
    ]


def test_a_position_instead_of_a_time(write_file: Write, tmp_path: Path) -> None:
    path = write_file("log.csv", "user,item,position\na,x,1\na,y,0\n")
    log, _, counts = ingest(tmp_path, path=path)
    assert [r["timestamp"] for r in log] == [1, 0]
    assert (counts["order_only"], counts["file_order"]) == (1, 0)


def test_the_file_s_own_order(write_file: Write, tmp_path: Path) -> None:
    path = write_file("log.csv", "user,item\na,x\na,y\n")
    log, _, counts = ingest(tmp_path, path=path)
    assert [r["timestamp"] for r in log] == [0, 1]
    assert (counts["order_only"], counts["file_order"]) == (1, 1)


def test_lists_are_joined(write_file: Write, tmp_path: Path) -> None:
    log = write_file("log.jsonl", '{"user": 1, "item": 2}\n')
    item = {
        "item": 2,
        "title": "[REC]",
        "categories": ["A", "B, C"],
        "description": [],
        "brand": "[x",
    }
    items = write_file("items.jsonl", json.dumps(item) + "\n")
    _, catalogue, _ = ingest(tmp_path, path=log, items=items)
    expected = {"item_id": "2", "title": "[REC]", "categories": "A > B, C"}
    assert catalogue == [expected | {"description": None, "brand": "[x"}]


def test_whole_floats_lose_their_point_but_other_ids_do_not(
    write_file: Write, tmp_path: Path
) -> None:
    path = write_file("log.csv", "user,item\n1.0,1.0\n2.0,v1.0\n")
    log, _, _ = ingest(tmp_path, path=path)
    assert [(r["user_id"], r["item_id"]) for r in log] == [("1", "1.0"), ("2", "v1.0")]


HEAD = "user_id,item_id,timestamp\n"
MISTAKES: dict[str, tuple[str, str, str]] = {
    "no rows at all": ("log.csv", "", "the file is empty"),
    "a misspelt column": (
        "log.csv",
        "user_id,itemid\na,x\n",
        r"'item_id'; did you mean 'itemid'\? found: user_id, itemid; .* data\.columns\.item",
    ),
    "a column twice": ("log.csv", "user_id,item_id,user_id\na,x,b\n", "stands twice"),
    "no user": (
        "log.csv",
        HEAD + "a,x,1\n,y,2\n,z,3\n",
        r"missing user_id \(column 'user_id'\) in 2 rows, first in line 3",
    ),
    "NaN": (
        "log.csv",
        HEAD + "a,NaN,1\n",
        r"missing item_id \(column 'item_id'\) in 1 row, first in line 2",
    ),
    "no time": (
        "log.csv",
        HEAD + "a,x,1\nb,y,\n",
        r"time not understood \(column 'timestamp'\) in 1 row, .* line 3",
    ),
    "no such time": ("log.jsonl", '{"user":1,"item":2,"time":"May"}\n', "first in line 1"),
    "an infinite time": ("log.csv", HEAD + "a,x,inf\nb,y,nan\n", r"'timestamp'\) in 2 rows"),
    "a rating in words": ("log.csv", "user,item,rating\na,x,good\n", "'rating'"),
    "a short line": (
        "log.csv",
        HEAD + "a,x,1\nb,y\n",
        "wrong number of columns in 1 row, first in line 3",
    ),
    "a negative time": ("log.csv", HEAD + "a,x,1\nb,y,-5\n", r"negative time .* first in line 3"),
    "a negative day": ("log.csv", HEAD + "a,x,1969-12-31\n", "negative time"),
    "half an object": (
        "log.jsonl",
        '{"user_id": 1, "item_id": 2}\n{"user_id": \n',
        "not JSON in 1 row, first in line 2",
    ),
    "not gzip": ("log.csv.gz", HEAD, "cannot be read"),
    "not Parquet": ("log.parquet", HEAD, "cannot be read"),
    "another format": ("log.xlsx", HEAD, r"expected one of \.csv"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_clear_line(case: str, write_file: Write, tmp_path: Path) -> None:
    name, text, message = MISTAKES[case]
    path = write_file(name, text)
    with pytest.raises(UserError, match=message) as caught:
        ingest(tmp_path, path=path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_truncated_gz_is_an_error(tmp_path: Path) -> None:
    text = HEAD + "".join(f"u{i},i{i % 97},{i * i}\n" for i in range(5000))
    whole = gzip.compress(text.encode())
    path = tmp_path / "log.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot be read"):
        ingest(tmp_path, path=path)


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(HEAD.encode() + b"a,caf\xe9,1\n")
    with pytest.raises(UserError, match=r"not UTF-8 in 1 row, first in line 2"):
        ingest(tmp_path, path=path)


def test_an_empty_log_is_refused(write_file: Write, prepare: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="no interactions were found"):
        prepare("ingest", source="files", path=write_file("log.csv", HEAD))


def test_paths_and_folders(write_file: Write, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        Files(path=tmp_path / "nothing.csv").input_files()
    write_file("folder/notes.txt", "")
    folder = tmp_path / "folder"
    with pytest.raises(UserError, match=r"expected a file interactions\.\*.*found notes\.txt"):
        Files(path=folder).input_files()
    log = write_file("folder/interactions.csv", HEAD)
    assert Files(path=folder).input_files() == [log]
    items = write_file("folder/items.tsv", "item_id\n")
    assert Files(path=folder).input_files() == [log, items]
    write_file("folder/interactions.jsonl", "")
    with pytest.raises(UserError, match="expected one file interactions"):
        Files(path=folder).input_files()


def test_items_that_stand_twice_or_have_no_id(write_file: Write, tmp_path: Path) -> None:
    path = write_file("log.csv", HEAD + "a,x,1\n")
    items = write_file("items.csv", "item_id,title\ny,one\nx,two\ny,three\n")
    with pytest.raises(UserError, match=r"1 item ids that stand more than once \(first: 'y'\)"):
        ingest(tmp_path, path=path, items=items)
    items = write_file("items.csv", "item_id,title\ny,one\n,two\n")
    with pytest.raises(
        UserError, match=r"item without id \(column 'item_id'\) in 1 row, .* line 3"
    ):
        ingest(tmp_path, path=path, items=items)


def test_time_and_position_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="not both"):
        Files.model_validate({"path": "log.csv", "columns": {"time": "t", "position": "p"}})


def test_amazon_beauty_is_read_without_a_mapping(beauty: Any) -> None:
    counts = beauty.counts["ingest"]
    assert (counts["order_only"], counts["file_order"]) == (1, 0)
    assert (counts["interactions"], counts["items"]) == (198_502, 12_101)
    assert beauty.rows("ingest", "items")[0]["categories"].startswith("Beauty > ")


def test_amazon_reviews_as_they_are_published(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "amazon18-gift-cards"
    log, items, counts = ingest(
        tmp_path,
        path=folder / "Gift_Cards_5.json.gz",
        items=folder / "meta_Gift_Cards.json.gz",
        columns={
            "user": "reviewerID",
            "item": "asin",
            "time": "unixReviewTime",
            "rating": "overall",
            "categories": "category",
        },
    )
    assert (len(log), len({r["user_id"] for r in log}), len({r["item_id"] for r in log})) == (
        2972,
        458,
        148,
    )
    assert counts["items_missing_from_items_file"] == 0
    assert items[0]["categories"] == "Gift Cards > Gift Cards"


def test_other_columns_of_the_items_are_kept_by_name(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id\nu,a\nu,b\nu,c\n")
    (tmp_path / "items.csv").write_text("item_id,title,intent,price\na,A,for rain,3\nb,B,,4\n")
    places = {"path": tmp_path / "log.csv", "items": tmp_path / "items.csv"}
    _, items, _ = ingest(tmp_path, **places, item_columns=("intent",))
    assert items == [
        {"item_id": "a", "title": "A", "intent": "for rain"},
        {"item_id": "b", "title": "B", "intent": None},
        {"item_id": "c", "title": "c", "intent": None},
    ]
    assert "item_columns" not in Files.model_validate(places).model_dump()  # nothing new
    with pytest.raises(UserError, match=r"'intend'; did you mean 'intent'.*data.item_columns"):
        ingest(tmp_path, **places, item_columns=("intend",))
    with pytest.raises(UserError, match="there is no items file"):
        ingest(tmp_path, path=tmp_path / "log.csv", item_columns=("intent",))
    for names in (("title",), ("intent", "intent")):
        with pytest.raises(ValueError, match=r"a name of the tables|expected different names"):
            Files.model_validate({**places, "item_columns": names})


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_lines_that_end_in_two_ways_are_named(suffix: str, tmp_path: Path) -> None:
    rows = [f"u{row},i{row},{row}" for row in range(100)]
    text = "user_id,item_id,timestamp\r\n" + "\r\n".join(rows) + "\n" + "\n".join(rows) + "\n"
    path = tmp_path / f"log{suffix}"
    path.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    with pytest.raises(UserError, match=r"some of its lines end in \\r\\n, others in \\n"):
        ingest(tmp_path, path=path)
