"""The exports: what they write, that their own projects' ways read it, and that it comes back."""

import ast
import csv
import gzip
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import make_rows, make_sequences
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_data import write_filtered

from recllm.catalog.histories import Sequences, SplitName, SplitRows
from recllm.catalog.items import Items
from recllm.config.plugins import EXPORTS
from recllm.data_prep.exports import Export
from recllm.data_prep.exports._prepared import SPLITS, TOKEN, Prepared, built_sids, given_sids
from recllm.data_prep.splits.given import Given
from recllm.errors import UserError

from .conftest import make_recipe, run_split

Prepare = Callable[..., Any]
#: Item ids, titles and SID texts by item id; user, history and target of each row by split.
Content = tuple[dict[str, tuple[str, str]], dict[str, list[tuple[str, list[str], str]]]]


def content(prepared: Prepared) -> Content:
    """What an export must keep, in words of the user's."""
    ids = prepared.items.ids
    described = zip(prepared.items.titles, prepared.sids, strict=True)
    items = dict(zip(ids, ((title, "".join(sid)) for title, sid in described), strict=True))
    rows = {
        name: [
            (user, [ids[i] for i in history[-prepared.max_history :]], ids[target])
            for user, history, target in zip(
                split.user_ids, split.histories, split.target, strict=True
            )
        ]
        for name, split in prepared.rows.items()
    }
    return items, rows


def write(kind: str, prepared: Prepared, folder: Path, name: str = "Toys") -> dict[str, int]:
    folder.mkdir()
    return EXPORTS.load(kind)().write(prepared, name, folder)


def read_back(done: Any) -> Prepared:
    """What the stages made of an import."""
    items = Items.read(done.folders["filter"] / "items.parquet")
    sids = given_sids(items)
    assert sids is not None
    return Prepared.read(done.folders["filter"], done.folders["split"], sids, 10**6)


def used(items: dict[str, tuple[str, str]], rows: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The items that occur in some row: the others are not in a log."""
    seen = {
        i for split in rows.values() for _, history, target in split for i in (*history, target)
    }
    return {item: known for item, known in items.items() if item in seen}


def small(item_ids: list[str], titles: list[str], user_ids: list[str]) -> Prepared:
    """Two users over the first five items: each history with every split's target."""
    sequences = make_sequences([[0, 1, 2, 3], [4, 0, 4, 1, 2]])
    sequences = Sequences(
        user_ids, sequences.items, sequences.rows, sequences.offsets, sequences.train_ends
    )
    rows: dict[SplitName, SplitRows] = {
        "train": make_rows(sequences, [(0, 0, 1), (1, 0, 1), (1, 0, 2)]),
        "valid": make_rows(sequences, [(0, 0, 2), (1, 0, 3)]),
        "test": make_rows(sequences, [(0, 0, 3), (1, 0, 4)]),
    }
    table = pa.table({"item_id": item_ids, "title": titles})
    sids = [[f"<a_{i % 2}>", f"<b_{i}>"] for i in range(len(item_ids))]
    return Prepared(Items(table), sids, sequences, rows, 100)


IDS = ["x", "y y", "B,1", 'q"', "l\nm"]


def test_minionerec_s_files(tmp_path: Path) -> None:
    prepared = small(IDS, ["Top", "Kite's", 'B "1"', "tab\tline\n", "É\r"], ["u 1", "v"])
    counts = write("minionerec", prepared, tmp_path / "Toys")
    assert counts == {"train": 3, "valid": 2, "test": 2, "items": 5, "histories_cut": 0}
    files = sorted(p.relative_to(tmp_path / "Toys") for p in (tmp_path / "Toys").rglob("*.*"))
    assert [str(path) for path in files] == [
        "index/Toys.index.json",
        "index/Toys.item.json",
        "index/Toys.item2id",
        "info/Toys.txt",
        "test/Toys.csv",
        "train/Toys.csv",
        "valid/Toys.csv",
    ]
    frame = pd.read_csv(tmp_path / "Toys/test/Toys.csv")
    assert frame.to_dict("records") == [
        {
            "user_id": "u 1",
            "history_item_title": "['Top', \"Kite's\", 'B \"1\"']",
            "item_title": "tab\tline\n",
            "history_item_id": "[0, 1, 2]",
            "item_id": 3,
            "history_item_sid": "['<a_0><b_0>', '<a_1><b_1>', '<a_0><b_2>']",
            "item_sid": "<a_1><b_3>",
        },
        {
            "user_id": "v",
            "history_item_title": "['É\\r', 'Top', 'É\\r', \"Kite's\"]",
            "item_title": 'B "1"',
            "history_item_id": "[4, 0, 4, 1]",
            "item_id": 2,
            "history_item_sid": "['<a_0><b_4>', '<a_0><b_0>', '<a_0><b_4>', '<a_1><b_1>']",
            "item_sid": "<a_0><b_2>",
        },
    ]
    info = (tmp_path / "Toys/info/Toys.txt").read_text().splitlines()
    assert info[3] == "<a_1><b_3>\ttab line\t3"
    assert json.loads((tmp_path / "Toys/index/Toys.index.json").read_text())["4"] == [
        "<a_0>",
        "<b_4>",
    ]


def test_histories_are_cut_as_the_prompts_cut_them(tmp_path: Path) -> None:
    prepared = small(IDS, IDS, ["u", "v"])
    cut = Prepared(prepared.items, prepared.sids, prepared.sequences, prepared.rows, 2)
    assert write("minionerec", cut, tmp_path / "Toys")["histories_cut"] == 3
    frame = pd.read_csv(tmp_path / "Toys/test/Toys.csv")
    assert frame.history_item_id.tolist() == ["[1, 2]", "[4, 1]"]


def test_ids_that_count_the_items_are_kept(tmp_path: Path) -> None:
    prepared = small(["0", "1", "10", "2", "3"], IDS, ["u", "v"])
    assert prepared.numbers == [0, 1, 2, 3, 4]
    many = [str(i) for i in range(11)]
    assert small(sorted(many), many, ["u", "v"]).numbers == [0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9]
    write("lcrec", small(sorted(many), many, ["u", "v"]), tmp_path / "Toys")
    assert list(json.loads((tmp_path / "Toys/Toys.item.json").read_text())) == many
    assert not (tmp_path / "Toys/Toys.item2id").exists()


def test_lcrec_s_files(tmp_path: Path) -> None:
    prepared = small(IDS, IDS, ["u", "v"])
    short = make_sequences([[0, 1, 2, 3], [4, 0], [2, 2, 1]])
    prepared = Prepared(prepared.items, prepared.sids, short, prepared.rows, 1)
    counts = write("lcrec", prepared, tmp_path / "Toys")
    assert counts == {"users": 2, "interactions": 7, "items": 5, "users_too_short": 1}
    users = json.loads((tmp_path / "Toys/Toys.inter.json").read_text())
    assert users == {"u0": [0, 1, 2, 3], "u2": [2, 2, 1]}
    index = json.loads((tmp_path / "Toys/Toys.index.json").read_text())
    assert "".join(index[str(users["u2"][0])]) == "<a_0><b_2>"
    with pytest.raises(UserError, match=r"LC-Rec splits by leave-one-out itself, .* temporal"):
        EXPORTS.load("lcrec")().check(make_recipe(split="temporal"))
    EXPORTS.load("lcrec")().check(make_recipe())


@pytest.mark.parametrize("kind", EXPORTS.names())
def test_every_export_counts_and_describes_itself(kind: str, tmp_path: Path) -> None:
    export: Export = EXPORTS.load(kind)()
    counts = write(kind, small(IDS, IDS, ["u", "v"]), tmp_path / "Toys")
    assert counts["items"] == 5 and all(type(count) is int for count in counts.values())
    assert export.__doc__


# What ingest leaves of an id or a title: it is not empty, and has no blanks around it.
TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6
).filter(lambda text: text == text.strip() and text.lower() != "nan")


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[str, str, int]]:
    users = draw(st.lists(TEXT, min_size=1, max_size=4, unique=True))
    items = draw(st.lists(TEXT, min_size=1, max_size=5, unique=True))
    log = [
        (user, draw(st.sampled_from(items)), draw(st.integers(0, 3)))
        for user in users
        for _ in range(draw(st.integers(4, 6)))
    ]
    return draw(st.permutations(log))


@pytest.mark.parametrize("kind", ["minionerec", "lcrec"])
@settings(max_examples=8)
@given(log=logs(), titles=st.lists(TEXT, min_size=5, max_size=5), cut=st.integers(1, 6))
def test_what_was_exported_comes_back(
    prepare: Prepare, kind: str, log: list[tuple[str, str, int]], titles: list[str], cut: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        columns = list(zip(*log, strict=True))
        table = pa.table(dict(zip(("user_id", "item_id", "timestamp"), columns, strict=True)))
        pq.write_table(table, folder / "interactions.parquet")
        items = sorted(set(columns[1]))
        known = {"item_id": items, "title": titles[: len(items)]}
        pq.write_table(pa.table(known), folder / "items.parquet")
        before = prepare(source="files", path=name, k_core=0)
        filtered, split = before.folders["filter"], before.folders["split"]
        sids = [[f"<a_{i % 2}>", "<b_0>"] for i in range(len(items))]
        prepared = Prepared.read(filtered, split, sids, cut if kind == "minionerec" else 10**6)
        write(kind, prepared, folder / "Toys")
        how = "given" if kind == "minionerec" else "leave_one_out"
        after = prepare(source=kind, path=str(folder / "Toys"), k_core=0, split=how)
        expected, found = content(prepared), content(read_back(after))
        assert found[1] == expected[1]
        assert found[0] == used(*expected)
        disagreeing = [n for n in after.counts["ingest"] if "another" in n or "missing" in n]
        assert not any(after.counts["ingest"][name] for name in disagreeing)


def with_own_sids(done: Any, max_history: int = 10**6) -> Prepared:
    """A prepared log with SIDs that count its items."""
    items = Items.read(done.folders["filter"] / "items.parquet")
    codes = (np.arange(len(items))[:, None] // np.array([64**2, 64, 1])) % 64
    sids = [[f"<{level}_{code}>" for level, code in zip("abc", row, strict=True)] for row in codes]
    return Prepared.read(done.folders["filter"], done.folders["split"], sids, max_history)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["minionerec", "lcrec"])
def test_beauty_comes_back(kind: str, beauty: Any, tmp_path: Path, prepare: Prepare) -> None:
    prepared = with_own_sids(beauty)
    write(kind, prepared, tmp_path / "Beauty", "Beauty")
    how = "given" if kind == "minionerec" else "leave_one_out"
    after = prepare(source=kind, path=str(tmp_path / "Beauty"), k_core=0, split=how)
    assert content(read_back(after)) == content(prepared)


def test_movielens_comes_back_cut_to_ten(movielens: Any, tmp_path: Path, prepare: Prepare) -> None:
    prepared = with_own_sids(movielens, 10)
    write("minionerec", prepared, tmp_path / "Movies")
    after = prepare(source="minionerec", path=str(tmp_path / "Movies"), k_core=0, split="given")
    expected, found = content(prepared), content(read_back(after))
    assert found[1] == expected[1]
    assert found[0] == used(*expected)


@pytest.mark.slow
def test_industrial_comes_out_as_minionerec_wrote_it(
    real_data: Path, prepare: Prepare, tmp_path: Path
) -> None:
    path = real_data / "minionerec-industrial"
    done = prepare("filter", source="minionerec", path=str(path), k_core=0, split="given")
    # All items, also those that only the training rows have.
    whole = Items.read(done.folders["ingest"] / "items.parquet")
    index = {item_id: item for item, item_id in enumerate(whole.ids)}
    log = pq.read_table(done.folders["ingest"] / "interactions.parquet")
    numbers = pa.array([index[i] for i in log["item_id"].to_pylist()], pa.int32())
    log = log.drop_columns("item_id").append_column("item", numbers)
    write_filtered(log.to_pylist(), tmp_path)
    run_split(Given(), tmp_path)
    sequences = Sequences.read(tmp_path)
    rows: dict[SplitName, SplitRows] = {
        name: SplitRows.read(tmp_path, name, sequences) for name in SPLITS
    }
    sids = given_sids(whole)
    assert sids is not None
    write("minionerec", Prepared(whole, sids, sequences, rows, 10), tmp_path / "out")
    name = "Industrial_and_Scientific"
    for split in ("valid", "test"):
        with gzip.open(path / f"{name}.{split}.csv.gz", "rt", newline="") as file:
            expected = sorted(csv.reader(file))
        with (tmp_path / "out" / split / "Toys.csv").open(newline="") as file:
            assert sorted(csv.reader(file)) == expected
    for own, theirs in (("info/Toys.txt", "info.txt"), ("index/Toys.index.json", "index.json")):
        text = (tmp_path / "out" / own).read_bytes()
        expected_bytes = gzip.decompress((path / f"{name}.{theirs}.gz").read_bytes())
        assert text.decode().split() == expected_bytes.decode().split()
    texts = json.loads((tmp_path / "out" / "index" / "Toys.item.json").read_text())
    given_texts = json.loads(gzip.decompress((path / f"{name}.item.json.gz").read_bytes()))
    for number, item in given_texts.items():
        assert texts[number]["title"] == item["title"]
        said = item["description"]
        with suppress(SyntaxError, ValueError):  # some are no lists of Python's any more
            said = " ".join(part.strip() for part in ast.literal_eval(said))
        assert texts[number]["description"] == said.strip()


def test_sids_of_other_items_are_refused(tmp_path: Path) -> None:
    from recllm.catalog.sids import SidIndex

    SidIndex(["x", "y"], np.array([[1, 2], [0, 3]], dtype=np.int32), 4).write(
        tmp_path / "s.parquet"
    )
    items = Items(pa.table({"item_id": ["x", "y"], "title": ["a", "b"]}))
    sids = built_sids(tmp_path / "s.parquet", items)
    assert sids == [["<a_1>", "<b_2>"], ["<a_0>", "<b_3>"]]
    assert all(TOKEN.fullmatch(token) for sid in sids for token in sid)
    other = Items(pa.table({"item_id": ["x", "z"], "title": ["a", "b"]}))
    with pytest.raises(UserError, match="expected the SIDs of the catalogue's items"):
        built_sids(tmp_path / "s.parquet", other)
    assert given_sids(items) is None
