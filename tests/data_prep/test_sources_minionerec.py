"""The source `minionerec`: rows, given SIDs, what does not agree, and the real files."""

import ast
import gzip
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from peer_data import MINIONEREC, MINIONEREC_HEADER

from recllm.data_prep.sources.minionerec import Minionerec
from recllm.data_prep.splits.given import Given
from recllm.errors import UserError

from .conftest import run_source, run_split

Prepare = Callable[..., Any]
Rows = list[tuple[str, list[str], str]]


def place(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def tables(folder: Path) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The interactions, and the items by id."""
    log, items = (pq.read_table(folder / f"{n}.parquet") for n in ("interactions", "items"))
    return log.to_pylist(), {item["item_id"]: item for item in items.to_pylist()}


def ingest(path: Path, out: Path, **options: Any) -> dict[str, int]:
    out.mkdir(exist_ok=True)
    return run_source(Minionerec(path=path, **options), out)


def test_rows_and_items(tmp_path: Path, prepare: Prepare) -> None:
    path = place(tmp_path / "toys", MINIONEREC)
    done = prepare(source="minionerec", path=str(path), k_core=0, split="given")
    assert done.histories("train") == [("A1", ["0", "1"], "2"), ("A1", ["1", "2"], "0")]
    assert done.histories("valid") == [("A1", ["2", "0"], "10")]
    assert done.histories("test") == [("A2", ["1"], "2"), ("A1", ["2"], "1")]
    assert done.rows("filter", "items") == [
        {
            "item": 0,
            "item_id": "0",
            "title": "Top",
            "description": "Turns. For long",
            "categories": "Toys, Small",
            "brand": "Spin",
            "sid": "<a_1><b_2>",
        },
        {
            "item": 1,
            "item_id": "1",
            "title": "Kite",
            "description": "[sic] flies",
            "categories": None,
            "brand": None,
            "sid": "<a_1><b_0>",
        },
        {
            "item": 2,
            "item_id": "10",
            "title": 'Top, "red"',
            "description": None,
            "categories": None,
            "brand": None,
            "sid": "<a_1><b_2>",
        },
        {
            "item": 3,
            "item_id": "2",
            "title": "Ball",
            "description": None,
            "categories": None,
            "brand": None,
            "sid": "<a_0><b_0>",
        },
    ]
    expected = {
        "items_with_sid": 4,
        "items_without_sid": 0,
        "items_sharing_a_sid": 2,
        "missing_splits": 0,
        "targets_with_another_title": 0,
        "targets_with_another_sid": 0,
        "items_with_another_info": 0,
        "targets_without_history": 0,
    }
    assert expected.items() <= done.counts["ingest"].items()


def test_minionerec_s_own_tree_of_folders(tmp_path: Path) -> None:
    tree = {
        "Toys.info.txt": "info/Toys_5.txt",
        "Toys.index.json": "index/Toys.index.json",
        "Toys.item.json": "index/Toys.item.json",
    } | {f"Toys.{split}.csv": f"{split}/Toys_5.csv" for split in ("train", "valid", "test")}
    flat = place(tmp_path / "flat", MINIONEREC)
    nested = place(tmp_path / "nested", {tree[name]: text for name, text in MINIONEREC.items()})
    shutil.copytree(nested / "train", nested / "index" / "train")  # too deep to count
    assert ingest(flat, tmp_path / "a") == ingest(nested, tmp_path / "b")
    assert tables(tmp_path / "a") == tables(tmp_path / "b")
    other = place(nested, {"test/Books_5.csv": MINIONEREC["Toys.test.csv"]})
    with pytest.raises(UserError, match=r"one test file, found test/Books_5.csv, .*data.category"):
        ingest(other, tmp_path / "c")
    assert ingest(other, tmp_path / "c", category="Toys")["missing_splits"] == 0
    with pytest.raises(UserError, match=r"NAME\.index\.json and .* that begin with 'Books'"):
        ingest(other, tmp_path / "c", category="Books")


def test_items_go_by_the_info_where_the_dictionaries_are_missing(tmp_path: Path) -> None:
    path = place(tmp_path / "toys", MINIONEREC)
    (path / "Toys.index.json").unlink()
    (path / "Toys.item.json").unlink()
    ingest(path, tmp_path / "out")
    items = tables(tmp_path / "out")[1]
    assert (items["10"]["title"], items["10"]["sid"]) == ('Top, "red"', "<a_1><b_2>")


def test_own_ids_take_the_place_of_numbers(tmp_path: Path) -> None:
    own = 'B 0\t0\nB1\t1\n"tab\t""2"""\t2\nB10\t10\n'
    path = place(tmp_path / "toys", MINIONEREC | {"Toys.item2id": own})
    ingest(path, tmp_path / "out")
    log, items = tables(tmp_path / "out")
    assert [r["item_id"] for r in log][:4] == ["B 0", "B1", 'tab\t"2"', "B 0"]
    assert items["B10"]["title"] == 'Top, "red"'
    place(path, {"Toys.item2id": own.replace("B10\t10\n", "")})
    with pytest.raises(UserError, match=r"1 are not there \(first: '10'\)"):
        ingest(path, tmp_path / "out")


def test_what_does_not_agree_is_counted(tmp_path: Path) -> None:
    changed = {
        "Toys.test.csv": MINIONEREC["Toys.test.csv"].replace("Ball,[1]", "Balls,[1]"),
        "Toys.valid.csv": MINIONEREC["Toys.valid.csv"].replace(",<a_1><b_2>\n", ",<a_9><b_2>\n"),
        "Toys.info.txt": MINIONEREC["Toys.info.txt"].replace("Kite", "Dragon") + "<a_0>\tNew\t11\n",
    }
    counts = ingest(place(tmp_path / "toys", MINIONEREC | changed), tmp_path / "out")
    assert counts["targets_with_another_title"] == 1
    assert counts["targets_with_another_sid"] == 1
    assert counts["items_with_another_info"] == 2


def test_items_without_a_sid_or_a_text(tmp_path: Path) -> None:
    index = json.loads(MINIONEREC["Toys.index.json"])
    del index["1"]
    files = MINIONEREC | {"Toys.index.json": json.dumps(index | {"3": ["<a_7>"]})}
    counts = ingest(place(tmp_path / "toys", files), tmp_path / "out")
    assert (counts["items_with_sid"], counts["items_without_sid"]) == (4, 1)
    assert counts["items_titled_by_id"] == 1
    assert tables(tmp_path / "out")[1]["3"]["title"] == "3"


def test_ids_that_are_no_numbers(tmp_path: Path) -> None:
    row = "u,['a'],b,\"['B 01', 'B,02']\",B03,['x'],y\n"
    files = {"test.csv": MINIONEREC_HEADER + row, "X.index.json": '{"B03": ["<a_1>"]}'}
    ingest(place(tmp_path / "toys", files), tmp_path / "out")
    assert [r["item_id"] for r in tables(tmp_path / "out")[0]] == ["B 01", "B,02", "B03"]


MISTAKES: dict[str, tuple[dict[str, str | None], str]] = {
    "no rows": (
        {f"Toys.{split}.csv": None for split in ("train", "valid", "test")},
        r"expected MiniOneRec's files, such as NAME\.test\.csv or test/NAME\.csv, found Toys\.ind",
    ),
    "another column": (
        {"Toys.test.csv": "user_id,history,target\na,1,2\n"},
        r"expected the columns user_id, .*found user_id, history, target",
    ),
    "a list that is none": (
        {"Toys.test.csv": MINIONEREC_HEADER + "A1,[''],t,\"[1, 2\",2,[''],s\n"},
        r"'history_item_id'\) in 1 row, first in line 2",
    ),
    "code in a list": (
        {"Toys.test.csv": MINIONEREC_HEADER + "A1,[''],t,[print(1)],2,[''],s\n"},
        r"'history_item_id'\) in 1 row, first in line 2",
    ),
    "half an index": ({"Toys.index.json": '{"0": ["<a_1>"'}, r"expected JSON, but"),
    "an empty index": ({"Toys.index.json": ""}, r"the file is empty"),
    "an item twice": (
        {"Toys.item.json": '{"0": {"title": "a"}, "0": {"title": "b"}}'},
        r"the key '0' stands twice",
    ),
    "items in a list": ({"Toys.item.json": "[]"}, r"expected one JSON object, found \[\]"),
    "an item that is a text": ({"Toys.item.json": '{"0": "Top"}'}, r"expected item '0' as an obj"),
    "a SID that is a text": ({"Toys.index.json": '{"0": "<a_1>"}'}, r"SID of item '0' as a list"),
    "a SID without brackets": ({"Toys.index.json": '{"0": ["a"]}'}, r'found \["a"\]'),
    "an info line": ({"Toys.info.txt": "<a_1>\tTop\n"}, r"in line 1, found '<a_1>\\tTop'"),
    "an info item twice": ({"Toys.info.txt": "<a>\tx\t0\n<b>\ty\t0\n"}, r"'0' stands twice"),
    "an id twice": ({"Toys.item2id": "B\t0\nB\t1\n"}, r"the id 'B' stands twice"),
    "a number twice": ({"Toys.item2id": "B\t0\nC\t0\n"}, r"the number 0 stands twice"),
    "a line of three": ({"Toys.item2id": "B\t0\nC\t1\t2\n"}, r"in line 2, found \['C'"),
    "a quote that never ends": ({"Toys.item2id": '"B\t0\n'}, r"cannot be read"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_clear_line(case: str, tmp_path: Path) -> None:
    changes, message = MISTAKES[case]
    files = {name: text for name, text in (MINIONEREC | changes).items() if text is not None}
    with pytest.raises(UserError, match=message) as caught:
        ingest(place(tmp_path / "toys", files), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = place(tmp_path / "toys", MINIONEREC)
    (path / "Toys.item.json").unlink()
    whole = gzip.compress(MINIONEREC["Toys.item.json"].encode())
    (path / "Toys.item.json.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="the file cannot be read"):
        ingest(path, tmp_path / "out")
    (path / "Toys.item.json.gz").write_bytes(gzip.compress(b'{"0": {"title": "caf\xe9"}}'))
    with pytest.raises(UserError, match="expected text in UTF-8"):
        ingest(path, tmp_path / "out")
    with pytest.raises(UserError, match="expected a folder with MiniOneRec's files, found a file"):
        ingest(path / "Toys.test.csv", tmp_path / "out")


@pytest.fixture(scope="module")
def industrial(real_data: Path, prepare: Prepare) -> Any:
    path = str(real_data / "minionerec-industrial")
    return prepare("filter", source="minionerec", path=path, k_core=0, split="given")


def test_industrial_loads_with_its_sids(industrial: Any) -> None:
    expected = {
        "items": 3_686,
        "items_with_sid": 3_686,
        "items_sharing_a_sid": 31,
        "missing_splits": 1,
        "targets_without_history": 0,
        "targets_with_another_title": 0,
        "targets_with_another_sid": 0,
        "items_with_another_info": 0,
        "items_titled_by_id": 0,
    }
    assert expected.items() <= industrial.counts["ingest"].items()
    targets = [r["split"] for r in industrial.rows("ingest", "interactions") if r["history"]]
    assert (targets.count("valid"), targets.count("test")) == (4_532, 4_533)
    often = Counter(item["sid"] for item in industrial.rows("ingest", "items"))
    assert sum(number for number in often.values() if number > 1) == 31
    kept = industrial.rows("filter", "items")
    assert 0 < len(kept) <= 3_686 and all(item["sid"] for item in kept)


@pytest.mark.slow
def test_industrial_s_rows_are_those_of_the_files(
    real_data: Path, industrial: Any, tmp_path: Path
) -> None:
    shutil.copytree(industrial.folders["filter"], tmp_path, dirs_exist_ok=True)
    counts = run_split(Given(), tmp_path)
    assert (counts["train"], counts["valid"], counts["test"]) == (0, 4_532, 4_533)
    ids = {r["item"]: r["item_id"] for r in industrial.rows("filter", "items")}
    sequences = pq.read_table(tmp_path / "sequences.parquet").to_pylist()
    for split in ("valid", "test"):
        path = real_data / "minionerec-industrial" / f"Industrial_and_Scientific.{split}.csv.gz"
        frame = pd.read_csv(path, dtype=str)
        expected = [
            (user, [str(number) for number in ast.literal_eval(history)], target)
            for user, history, target in zip(
                frame.user_id, frame.history_item_id, frame.item_id, strict=True
            )
        ]
        found = [
            (
                r["user_id"],
                [ids[i] for i in sequences[r["sequence"]]["items"][r["start"] : r["end"]]],
                ids[r["target"]],
            )
            for r in pq.read_table(tmp_path / f"{split}.parquet").to_pylist()
        ]
        assert sorted(found) == sorted(expected)


def test_industrial_cannot_be_trained_on(real_data: Path, prepare: Prepare) -> None:
    path = str(real_data / "minionerec-industrial")
    with pytest.raises(UserError, match=r"leaves train without rows .*valid 4532, test 4533"):
        prepare(source="minionerec", path=path, k_core=0, split="given")
