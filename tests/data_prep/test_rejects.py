"""Rows that cannot be read or understood are set aside, counted, and refused if too many."""

import csv
import gzip
import io
import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.config.schema import DataSection
from recllm.data_prep.ingest import check_tables
from recllm.data_prep.sources._reading import load
from recllm.data_prep.sources.files import Files
from recllm.data_prep.tables import session
from recllm.errors import UserError

from .conftest import Prepared, run_source

HEAD = "user,item,time,rating\n"
GOOD = ["a,x,1,5", "b,y,2,4", "c,z,3,"]
COLUMNS = {"user": "user", "item": "item", "time": "time"}


def ingest(
    out: Path, path: Path, engine: DataSection | None = None, **options: Any
) -> tuple[list[dict], list[dict], dict[str, int]]:
    """The interactions, the rejects and the counts of a log of which any row may be wrong."""
    folder = out / "ingested"
    folder.mkdir(exist_ok=True)
    counts = run_source(Files(path=path, **{"max_reject_rate": 1.0, **options}), folder, engine)
    with session() as con:
        check_tables(con, folder)
    rejects = folder / "rejects.parquet"
    rejected = pq.read_table(rejects).to_pylist() if rejects.exists() else []
    return pq.read_table(folder / "interactions.parquet").to_pylist(), rejected, counts


#: A wrong line between good ones: what it is called, and what is kept of it.
CSV_LINES = {
    "d,x,1": ("wrong number of columns", "d,x,1"),
    "d": ("wrong number of columns", "d"),
    "d,x,1,2,3": ("wrong number of columns", "d,x,1,2,3"),
    'd,"x"y,1,2': ("stray quotes", 'd,"x"y,1,2'),
    ",x,1,2": ("missing user_id", "user_id: ; item_id: x; time: 1; rating: 2"),
    "d,nan,1,2": ("missing item_id", "user_id: d; item_id: nan; time: 1; rating: 2"),
    "d,x,,2": ("time not understood", "user_id: d; item_id: x; time: ; rating: 2"),
    "d,x,NaN,2": ("time not understood", "user_id: d; item_id: x; time: NaN; rating: 2"),
    "d,x,inf,2": ("time not understood", "user_id: d; item_id: x; time: inf; rating: 2"),
    "d,x,soon,2": ("time not understood", "user_id: d; item_id: x; time: soon; rating: 2"),
    "d,x,-5,2": ("negative time", "user_id: d; item_id: x; time: -5; rating: 2"),
    "d,x,-0.5,2": ("negative time", "user_id: d; item_id: x; time: -0.5; rating: 2"),
    "d,x,1969-07-20,2": ("negative time", "user_id: d; item_id: x; time: 1969-07-20; rating: 2"),
    "d,x,1,good": ("rating not understood", "user_id: d; item_id: x; time: 1; rating: good"),
    "d,x,1,inf": ("rating not understood", "user_id: d; item_id: x; time: 1; rating: inf"),
}


@pytest.mark.parametrize("line", CSV_LINES)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_wrong_line_of_csv(line: str, suffix: str, tmp_path: Path) -> None:
    reason, content = CSV_LINES[line]
    text = (HEAD + "\n".join([GOOD[0], line, *GOOD[1:]]) + "\n").encode()
    path = tmp_path / f"log.csv{suffix}"
    path.write_bytes(gzip.compress(text) if suffix else text)
    log, rejected, counts = ingest(tmp_path, path)
    assert [(r["row"], r["user_id"], r["item_id"], r["timestamp"]) for r in log] == [
        (0, "a", "x", 1),
        (1, "b", "y", 2),
        (2, "c", "z", 3),
    ]
    found = {"file": path.name, "line": 3, "reason": reason, "content": content}
    assert rejected == [found]
    assert counts[f"rejected_{reason.replace(' ', '_')}"] == 1
    assert sum(n for name, n in counts.items() if name.startswith("rejected")) == 1


JSON_LINES = {
    b'{"user": "d", "item": "x", "ti': "not JSON",
    b'{"user": "d"} {"user": "e"}': "not JSON",
    b"{'user': 'd', 'item': 'x', 'time': 1}": "not JSON",
    b'{"user": "\xe9", "item": "x", "time": 1}': "not UTF-8",
    b"[1, 2]": "no JSON object",
    b'"text"': "no JSON object",
    b'{"user": "d", "time": 1}': "missing item_id",
    b'{"user": null, "item": "x", "time": 1}': "missing user_id",
    b'{"user": "d", "item": "x", "time": NaN}': "time not understood",
    b'{"user": "d", "item": "x", "time": -1}': "negative time",
    b'{"user": "d", "item": "x", "time": [1]}': "time not understood",
}


@pytest.mark.parametrize("line", JSON_LINES)
def test_a_wrong_line_of_json(line: bytes, tmp_path: Path) -> None:
    good = [b'{"user": "%s", "item": "x", "time": 1, "rating": 2}' % u for u in (b"a", b"b", b"c")]
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join([good[0], b"", line, *good[1:]]))
    log, rejected, _ = ingest(tmp_path, path)
    assert [(r["row"], r["user_id"]) for r in log] == [(0, "a"), (1, "b"), (2, "c")]
    assert [(r["line"], r["reason"]) for r in rejected] == [(3, JSON_LINES[line])]


#: Wrong records after values that go on over lines, and blank lines; the lines that they are in.
LONG_RECORDS = {
    "a,1,x\n\nb,2,y\nc,3\nd,?,z\n": [5, 6],
    'a,1,"x\ny"\nb,2,y\nc,3\nd,4,"p\n\nq"\n\ne,?,k\n\n\n': [5, 10],
    'a,1,"x\r\ny"\r\n\r\nb,2\r\nc,?,k\r\n': [5, 6],
    'a,"x\ny"\nb,?,y\n': [2, 4],
}


@pytest.mark.parametrize("text", LONG_RECORDS)
def test_lines_are_those_of_the_file(text: str, engine: DataSection, tmp_path: Path) -> None:
    path, out = tmp_path / "log.csv", tmp_path / "out"
    path.write_text("user,time,item\r\n" if "\r" in text else "user,time,item\n", newline="")
    with path.open("a", newline="") as file:
        file.write(text)
    first, second = LONG_RECORDS[text]
    with pytest.raises(UserError) as caught:
        ingest(tmp_path, path, engine, max_reject_rate=0.0)
    assert f"wrong number of columns in 1 row, first in line {first}," in str(caught.value)
    assert f"time not understood (column 'time') in 1 row, first in line {second}" in str(
        caught.value
    )
    out.mkdir()
    log, rejected, _ = ingest(out, path, engine)
    assert [(r["line"], r["reason"]) for r in rejected] == [
        (first, "wrong number of columns"),
        (second, "time not understood"),
    ]
    places = [r["row"] for r in log]
    assert places == list(range(len(log)))


def test_lines_of_json_after_blank_ones(engine: DataSection, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    good, bad = (
        '{"user": "a", "item": "x", "time": 1}\n',
        '{"user": "a", "item": "x", "time": "?"}\n',
    )
    path.write_text(good + "\n  \n" + bad + good + "{\n\n" + good)
    log, rejected, _ = ingest(tmp_path, path, engine)
    assert [r["row"] for r in log] == [0, 1, 2]
    assert [(r["line"], r["reason"]) for r in rejected] == [
        (4, "time not understood"),
        (6, "not JSON"),
    ]


def test_lines_after_those_that_a_quote_joined(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(HEAD + 'a,x,1,1\n"b,x,1,1\nc,x,1,1\n"d,x,1,1\ne,x,?,1\n')
    _, rejected, _ = ingest(tmp_path, path)
    assert [(r["line"], r["reason"]) for r in rejected] == [
        *[(3, "stray quotes")] * 3,  # where it begins
        (6, "time not understood"),
    ]


def test_the_share_that_may_be_set_aside(
    tmp_path: Path, write_file: Callable[[str, str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = write_file("log.csv", HEAD + "\n".join([*GOOD, "d", "e,x,-1,1", ",,,", "f"]) + "\n")
    with pytest.raises(UserError) as caught:
        ingest(tmp_path, path, max_reject_rate=0.5)
    message = str(caught.value)
    assert "wrong number of columns in 2 rows, first in line 5" in message
    assert "negative time (column 'time') in 1 row, first in line 6" in message
    assert "0.57 of the rows" in message
    assert not list((tmp_path / "ingested").glob("*.parquet"))
    with caplog.at_level(logging.WARNING):
        log, rejected, counts = ingest(tmp_path, path, max_reject_rate=0.58)
    assert "2 × wrong number of columns" in caplog.text
    assert (len(log), len(rejected)) == (3, 4)
    assert counts["rejected_wrong_number_of_columns"] == 2
    assert (counts["rejected_negative_time"], counts["rejected_missing_user_id"]) == (1, 1)
    assert [r["line"] for r in rejected] == [5, 6, 7, 8]


def test_items_are_set_aside_too(tmp_path: Path, write_file: Callable[[str, str], Path]) -> None:
    log = write_file("log.csv", HEAD + "\n".join(GOOD))
    items = write_file("items.csv", "item_id,title\nx,X\n,nothing\ny\nz,Z\n")
    _, rejected, counts = ingest(tmp_path, log, items=items)
    assert [(r["file"], r["line"], r["reason"]) for r in rejected] == [
        ("items.csv", 3, "item without id"),
        ("items.csv", 4, "wrong number of columns"),
    ]
    assert counts["items_missing_from_items_file"] == 1


def test_a_quote_that_is_never_closed_is_an_error(tmp_path: Path) -> None:
    """It takes in what follows, so that nobody knows how many rows are lost."""
    path = tmp_path / "log.csv"
    path.write_text(HEAD + 'a,x,1,1\n"b,x,1,1\n' + "c,x,1,1\n" * 5000)
    with pytest.raises(UserError, match="a quote opened in line 3 is never closed"):
        ingest(tmp_path, path)


def test_lines_that_stray_quotes_join_are_all_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(HEAD + 'a,x,1,1\n"b,x,1,1\nc,x,1,1\n"d,x,1,1\ne,x,1,1\n')
    log, rejected, _ = ingest(tmp_path, path)
    assert [r["user_id"] for r in log] == ["a", "e"]
    assert [r["content"] for r in rejected] == ['"b,x,1,1', "c,x,1,1", '"d,x,1,1']


def test_the_order_of_a_long_file_is_kept(tmp_path: Path) -> None:
    """Several threads read it, in pieces."""
    rows = 400_000
    path = tmp_path / "log.jsonl"
    with path.open("w") as file:
        for row in range(rows):
            file.write(f'{{"user": 1, "item": {row}}}\n' if row % 100_000 != 7 else "{\n")
    with session() as con:
        con.raw_sql("SET threads = 4")
        table = load(con, path, {"item": "item"})
        found = table.select("row", "item", "problem").order_by("row").to_pyarrow()
    expected = [str(row) if row % 100_000 != 7 else None for row in range(rows)]
    assert found["row"].to_pylist() == list(range(rows))
    assert found["item"].to_pylist() == expected
    assert Counter(found["problem"].to_pylist()) == {None: rows - 4, "not JSON": 4}


def naive_json(content: bytes) -> list[tuple]:
    """Each line that is not blank: its row, its problem, its values."""
    found = []
    for row, line in enumerate(content.split(b"\n")):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode())
        except UnicodeDecodeError:
            found.append((row, "not UTF-8", None, None))
        except ValueError:
            found.append((row, "not JSON", None, None))
        else:
            if isinstance(value, dict):
                found.append((row, None, value.get("user"), value.get("item")))
            else:
                found.append((row, "no JSON object", None, None))
    return found


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
OBJECTS = st.fixed_dictionaries({}, optional={"user": TEXT, "item": TEXT, "x": TEXT}).map(
    lambda value: json.dumps(value, ensure_ascii=False).encode()
)
JUNK = st.sampled_from(
    [b"{", b'{"user": "a', b"3", b"[]", b'{"user": "\xff"}', b"", b"  ", b"null"]
)


@settings(max_examples=60)
@given(st.lists(st.one_of(OBJECTS, OBJECTS, JUNK), max_size=12))
def test_json_lines_against_a_naive_reader(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("json") / "log.jsonl"
    path.write_bytes(b"\n".join([b'{"user": "a", "item": "b"}', *lines, b""]))
    with session() as con:
        table = load(con, path, {"user": "user", "item": "item"}).order_by("row")
        found = table.select("row", "problem", "user", "item").to_pyarrow().to_pylist()
    assert [tuple(r.values()) for r in found] == naive_json(path.read_bytes())


CELLS = st.text(st.sampled_from("ab ,\";\n'é"), max_size=4)
WIDTHS = st.sampled_from([3, 3, 3, 3, 2, 5])


@settings(max_examples=60)
@given(st.lists(WIDTHS.flatmap(lambda n: st.lists(CELLS, min_size=n, max_size=n)), max_size=12))
def test_csv_against_a_naive_reader(
    tmp_path_factory: pytest.TempPathFactory, records: list[list[str]]
) -> None:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([["user", "item", "time"], *records])
    path = tmp_path_factory.mktemp("csv") / "log.csv"
    path.write_text(written.getvalue(), encoding="utf-8", newline="")
    # cells too many hold nothing: nothing is lost
    read = list(csv.reader(io.StringIO(written.getvalue())))[1:]
    fits = [len(record) >= 3 and not any(record[3:]) for record in read]
    expected = [
        (row, None, *(cell or None for cell in record[:3]))
        for row, record in enumerate(read)
        if fits[row]
    ]
    with session() as con:
        table = load(con, path, COLUMNS).order_by("row")
        found = table.select("row", "problem", *COLUMNS).to_pyarrow().to_pylist()
    good = [tuple(r.values()) for r in found if r["problem"] is None]
    assert [(row, *(cell or None for cell in cells)) for row, *cells in good] == expected
    bad = {r["row"] for r in found if r["problem"] is not None}
    assert bad == {row for row, whole in enumerate(fits) if not whole}
    assert {r["problem"] for r in found} <= {None, "wrong number of columns"}


ODD = [
    "a b",
    " a",
    "a,b",
    'a"b',
    '"',
    "a\nb",
    "a\r\nb",
    "a'b",
    "é;\t|",
    "{a}",
    "[a]",
    "\\n",
    "a::b",
]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl", ".jsonl.gz"])
def test_odd_ids_survive_to_the_split(
    suffix: str, tmp_path: Path, prepare: Callable[..., Prepared]
) -> None:
    rows = [(user, item, time) for user in ODD for time, item in enumerate(ODD)]
    names = ("user_id", "item_id", "timestamp")
    written = io.StringIO()
    if "csv" in suffix:
        csv.writer(written).writerows([names, *rows])
    else:
        written.writelines(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
    text = written.getvalue().encode()
    path = tmp_path / f"log{suffix}"
    path.write_bytes(gzip.compress(text) if suffix.endswith(".gz") else text)
    done = prepare(source="files", path=path)
    log = done.rows("ingest", "interactions")
    assert [(r["user_id"], r["item_id"], r["timestamp"]) for r in log] == rows
    items = {r["item"]: r["item_id"] for r in done.rows("filter", "items")}
    assert sorted(items.values()) == sorted(ODD)
    filtered = done.filtered()
    assert [(r["user_id"], items[r["item"]], r["timestamp"]) for r in filtered] == rows
    assert {r["user_id"] for r in done.rows("split", "test")} == set(ODD)


MISSING = {"keep": (3, {"x": "X", "y": "y", "z": "z"}), "drop": (1, {"x": "X"})}


@pytest.mark.parametrize("policy", MISSING)
def test_items_that_the_items_file_lacks(
    policy: str, tmp_path: Path, write_file: Callable[[str, str], Path]
) -> None:
    log = write_file("log.csv", HEAD + "\n".join(reversed(GOOD)))
    items = write_file("items.csv", "item_id,title\nx,X\n")
    found, _, counts = ingest(tmp_path, log, items=items, missing_items=policy)
    rows, titles = MISSING[policy]
    assert len(found) == counts["interactions"] == rows
    table = pq.read_table(tmp_path / "ingested" / "items.parquet").to_pylist()
    assert {r["item_id"]: r["title"] for r in table} == titles
    assert counts["items_missing_from_items_file"] == 2
    assert counts.get("interactions_of_missing_items", 0) == 3 - rows
    assert counts["items_titled_by_id"] == (2 if policy == "keep" else 0)


@pytest.mark.parametrize("name", ["behavior", "behaviour", "event", "event_type", "what"])
def test_behaviors_are_kept(
    name: str, tmp_path: Path, write_file: Callable[[str, str], Path]
) -> None:
    path = write_file("log.csv", f"user,item,{name}\na,x,view\na,y,buy\na,z,\n")
    columns = {"behavior": name} if name == "what" else {}
    found, _, _ = ingest(tmp_path, path, columns=columns)
    assert [r["behavior"] for r in found] == ["view", "buy", None]
