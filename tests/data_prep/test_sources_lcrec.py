"""The source `lcrec`: users, their order, given SIDs, and what goes wrong."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from peer_data import LCREC

from recllm.data_prep.sources.lcrec import Lcrec
from recllm.errors import UserError

from .conftest import run_source


def ingest(folder: Path, files: dict[str, str | None]) -> tuple[Any, Any, dict[str, int]]:
    given, out = folder / "given", folder / "out"
    for path in (given, out):
        path.mkdir(exist_ok=True)
    for name, text in files.items():
        if text is not None:
            (given / name).write_text(text)
    counts = run_source(Lcrec(path=given), out)
    log, items = (pq.read_table(out / f"{n}.parquet") for n in ("interactions", "items"))
    return log.to_pylist(), items.to_pylist(), counts


def test_users_keep_their_order(tmp_path: Path) -> None:
    log, items, counts = ingest(tmp_path, dict(LCREC))
    assert [(r["user_id"], r["item_id"], r["timestamp"]) for r in log] == [
        ("0", "0", 0),
        ("0", "1", 1),
        ("0", "2", 2),
        ("0", "0", 3),
        ("7", "10", 0),
        ("7", "2", 1),
        ("7", "1", 2),
    ]
    assert [(i["item_id"], i["title"], i["sid"]) for i in items] == [
        ("0", "Top", "<a_1><b_2>"),
        ("1", "Kite", "<a_1><b_0>"),
        ("10", 'Top, "red"', "<a_1><b_2>"),
        ("2", "Ball", "<a_0><b_0>"),
    ]
    expected = {
        "order_only": 1,
        "users": 3,
        "users_without_items": 1,
        "items_with_sid": 4,
        "items_sharing_a_sid": 2,
        "items_missing_from_items_file": 0,
    }
    assert expected.items() <= counts.items()


def test_own_ids_and_no_index(tmp_path: Path) -> None:
    files: dict[str, str | None] = LCREC | {"Toys.item2id": "x\t0\ny\t1\nz\t2\nw\t10\n"}
    log, items, counts = ingest(tmp_path, files | {"Toys.index.json": None})
    assert [r["item_id"] for r in log if r["user_id"] == "7"] == ["w", "z", "y"]
    assert [(i["item_id"], i["sid"]) for i in items] == [(i, None) for i in ("w", "x", "y", "z")]
    assert counts["items_without_sid"] == 4


def test_gzipped_files_and_items_without_a_text(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    text = json.dumps({"u": [5, 0]}).encode()
    (tmp_path / "given" / "Toys.inter.json.gz").write_bytes(gzip.compress(text))
    _, items, counts = ingest(tmp_path, LCREC | {"Toys.inter.json": None})
    assert counts["items_missing_from_items_file"] == 1
    assert [i["title"] for i in items if i["item_id"] == "5"] == ["5"]


MISTAKES: dict[str, tuple[dict[str, str | None], str]] = {
    "no users' file": ({"Toys.inter.json": None}, r"expected a file NAME\.inter\.json, found Toys"),
    "no items' file": ({"Toys.item.json": None}, r"expected a file NAME\.item\.json"),
    "two of them": ({"Games.inter.json": "{}"}, r"expected one \*\.inter\.json, found Games"),
    "items that are no list": ({"Toys.inter.json": '{"u": 3}'}, r"items of user 'u' as a list"),
    "an item that is no number": ({"Toys.inter.json": '{"u": [true]}'}, r"found \[True\]"),
    "a fraction": ({"Toys.inter.json": '{"u": [1.5]}'}, r"found \[1\.5\]"),
    "a user without a name": ({"Toys.inter.json": '{"": [1]}'}, r"found an empty one"),
    "a user twice": ({"Toys.inter.json": '{"u": [1], "u": [2]}'}, r"the key 'u' stands twice"),
    "not JSON": ({"Toys.inter.json": "{"}, r"expected JSON, but"),
    "a number without an id": ({"Toys.item2id": "x\t0\n"}, r"3 are not there \(first: '1'\)"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_clear_line(case: str, tmp_path: Path) -> None:
    changes, message = MISTAKES[case]
    with pytest.raises(UserError, match=message) as caught:
        ingest(tmp_path, LCREC | changes)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").iterdir())
