"""SIDs from elsewhere: read, checked, kept or resolved; and what was exported comes back."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from builders import make_rows, make_sequences
from catalogues import make_input
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.catalog.histories import SplitName, SplitRows
from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex
from recllm.config.loading import load_recipe
from recllm.config.plugins import EXPORTS
from recllm.data_prep.exports._prepared import SPLITS, Prepared, built_sids
from recllm.data_prep.quantizers import Indexing
from recllm.data_prep.quantizers.import_ import HIGHEST_CODE, Import, mean_codebooks, parse_sids
from recllm.errors import UserError


def table_of(sids: list[str | None] | None, item_ids: list[str] | None = None) -> pa.Table:
    ids = item_ids or [f"id{i}" for i in range(len(sids or ()))]
    columns: dict[str, Any] = {"item_id": ids, "title": ids}
    return pa.table(columns | ({} if sids is None else {"sid": pa.array(sids, pa.string())}))


def imported(sids: list[str | None], **options: Any) -> Indexing:
    vectors = np.random.default_rng(0).normal(size=(len(sids), 4)).astype(np.float32)
    given_items = make_input(table_of(sids), read_vectors=lambda: vectors)
    return Import(**options).index(given_items)


ANY_SIDS = st.integers(1, 4).flatmap(
    lambda levels: st.lists(
        st.lists(st.integers(0, 300), min_size=1, max_size=levels), min_size=1, max_size=20
    )
)


def write_sid(codes: list[int]) -> str:
    return "".join(f"<{'abcdefgh'[level]}_{code}>" for level, code in enumerate(codes))


@given(ANY_SIDS)
def test_codes_are_read_as_they_are_written(sids: list[list[int]]) -> None:
    texts = [write_sid(codes) for codes in sids]
    found = parse_sids(texts, texts)
    assert [row[row >= 0].tolist() for row in found] == sids
    kept = imported(list(texts), on_collision="keep").index
    assert kept.texts() == texts
    assert isinstance(kept, SidIndex)
    assert kept.variable_depth == (len({len(codes) for codes in sids}) > 1)
    longest = max(map(len, sids))
    assert kept.sizes == tuple(
        1 + max(codes[level] for codes in sids if len(codes) > level) for level in range(longest)
    )


@pytest.mark.parametrize(
    "sid",
    ["", "a_1", "<b_1>", "<a_1><a_2>", "<a_01>", "<a_1> <b_2>", "<a_-1>", "<a_x>",
     f"<a_{HIGHEST_CODE}>", "<a_1>" + "<z_1>" * 40],
)  # fmt: skip
def test_what_is_no_sid_is_refused(sid: str) -> None:
    with pytest.raises(UserError, match=r"expected SIDs such as .* of item 'id1'"):
        imported(["<a_0>", sid])


SHARED: list[str | None] = ["<a_1><b_0>", "<a_0><b_2>", "<a_1><b_0>", "<a_2><b_1>", "<a_1><b_0>"]


def test_collisions_are_an_error_unless_said_otherwise() -> None:
    with pytest.raises(UserError, match=r"3 items share their SID .* 'id0'; set sid.on_collision"):
        imported(SHARED)
    kept = imported(SHARED, on_collision="keep")
    assert kept.index.texts() == SHARED
    assert kept.counts == {"items_sharing_a_sid": 3, "sids_of_no_item": 0} and kept.moved == 0
    assert imported(["<a_1>", "<a_0>"]).counts["items_sharing_a_sid"] == 0


def test_resolving_moves_none_but_those_that_share() -> None:
    found = imported(SHARED, on_collision="resolve")
    texts = found.index.texts()
    assert len(set(texts)) == 5
    assert texts[1] == SHARED[1] and texts[3] == SHARED[3]
    assert sum(a != b for a, b in zip(texts, SHARED, strict=True)) == found.moved >= 2
    assert all(texts[i].startswith("<a_1>") for i in (0, 2, 4))
    with pytest.raises(UserError, match="needs SIDs of one length"):
        imported(["<a_1>", "<a_1>", "<a_0><b_1>"], on_collision="resolve")


@given(st.data())
def test_mean_codebooks_against_loops(data: st.DataObject) -> None:
    items, levels = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 3))
    row = st.lists(st.integers(0, 3), min_size=levels, max_size=levels)
    codes = np.array(data.draw(st.lists(row, min_size=items, max_size=items)), dtype=np.int32)
    vectors = np.random.default_rng(items).normal(size=(items, 3)).astype(np.float32)
    found = mean_codebooks(codes, vectors, 5)
    left = vectors.astype(np.float64)
    for level in range(levels):
        for code in range(5):
            members = [i for i in range(items) if codes[i, level] == code]
            expected = left[members].mean(axis=0) if members else np.zeros(3)
            np.testing.assert_allclose(found[level, code], expected, atol=1e-5)
        left = left - found[level, codes[:, level]]


def test_only_resolving_needs_vectors() -> None:
    uses = {how: Import(on_collision=how).uses_vectors for how in ("keep", "resolve", "error")}  # type: ignore[arg-type]
    assert uses == {"keep": False, "resolve": True, "error": False}


def test_items_without_a_sid_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="each of 3 items, but 2 have none, such as 'id1'; add"):
        imported(["<a_1>", None, None])
    with pytest.raises(UserError, match=r"the log brought no SIDs; set sid.path"):
        Import().index(make_input(table_of(None, ["x"])))
    index = tmp_path / "Toys.index.json"
    index.write_text(json.dumps({"x": ["<a_1>"]}))
    with pytest.raises(UserError, match=r"1 have none, such as 'y'; add them to .*index.json"):
        Import(path=index).index(make_input(table_of(None, ["x", "y"])))


def test_an_index_by_numbers_and_more_items_than_the_log_has(tmp_path: Path) -> None:
    index, numbers = tmp_path / "Toys.index.json.gz", tmp_path / "Toys.item2id"
    index.write_bytes(
        gzip.compress(json.dumps({"0": ["<a_1>"], "1": ["<a_5>"], "2": ["<a_0>"]}).encode())
    )
    numbers.write_text("y\t0\nunused\t1\nx\t2\n")
    scheme = Import(path=index)
    assert scheme.input_files() == [index, numbers]
    assert scheme.index(make_input(table_of(None, ["x", "y"]))).index.texts() == ["<a_0>", "<a_1>"]
    numbers.write_text("y\t0\nx\t2\n")
    with pytest.raises(UserError, match="expected the number of every item"):
        scheme.index(make_input(table_of(None, ["x", "y"])))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        Import(path=tmp_path / "Toys.index.json").input_files()
    with pytest.raises(UserError, match=r"expected an \.index\.json, found the folder"):
        Import(path=tmp_path).input_files()


@settings(max_examples=15)
@given(
    sids=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4), min_size=5, max_size=5),
    item_ids=st.sampled_from([["x", "y y", "B,1", 'q"', "z"], ["2", "1", "0", "4", "3"]]),
    kind=st.sampled_from(["minionerec", "lcrec"]),
)
def test_what_was_exported_is_imported(
    tmp_path_factory: pytest.TempPathFactory, sids: list[list[int]], item_ids: list[str], kind: str
) -> None:
    folder = tmp_path_factory.mktemp("export")
    codes = np.full((5, 4), -1, dtype=np.int32)
    for row, given_codes in zip(codes, sids, strict=True):
        row[: len(given_codes)] = given_codes
    codes = codes[:, : max(map(len, sids))]
    index = SidIndex(item_ids, codes, 31)
    index.write(folder / "sids.parquet")
    items = Items(table_of(None, item_ids))
    sequences = make_sequences([[0, 1, 2, 3], [4, 0, 4, 1, 2]])
    rows: dict[SplitName, SplitRows] = {
        name: make_rows(sequences, [(0, 0, end), (1, 0, end)]) for end, name in enumerate(SPLITS, 1)
    }
    tokens = built_sids(folder / "sids.parquet", items)
    (folder / "Toys").mkdir()
    EXPORTS.load(kind)().write(Prepared(items, tokens, sequences, rows, 9), "Toys", folder / "Toys")
    (path,) = (folder / "Toys").rglob("*.index.json")
    found = Import(path=path, on_collision="keep").index(make_input(items.table)).index
    assert isinstance(found, SidIndex)
    assert found.item_ids == index.item_ids
    assert np.array_equal(found.codes, index.codes)


def test_in_a_recipe() -> None:
    loaded = load_recipe("demo", ["sid.quantizer=import", "sid.on_collision=keep"])
    assert loaded.sid.quantizer == Import(on_collision="keep")
    with pytest.raises(UserError, match=r"sid.on_collision: expected 'keep', 'resolve' or 'error'"):
        load_recipe("demo", ["sid.quantizer=import", "sid.on_collision=drop"])


def test_minionerec_s_own(real_data: Path) -> None:
    """31 of their 3,686 items share a SID."""
    path = real_data / "minionerec-industrial/Industrial_and_Scientific.index.json.gz"
    index = json.loads(gzip.decompress(path.read_bytes()))
    table = table_of(None, list(index))
    kept = Import(path=path, on_collision="keep").index(make_input(table))
    assert kept.index.texts() == ["".join(tokens) for tokens in index.values()]
    assert kept.counts["items_sharing_a_sid"] == 31
    vectors = np.random.default_rng(0).normal(size=(len(index), 8)).astype(np.float32)
    own = Import(path=path, on_collision="resolve").index(
        make_input(table, read_vectors=lambda: vectors)
    )
    given, found = kept.index.texts(), own.index.texts()
    assert len(set(found)) == 3_686
    sharing = {text for text, items in Counter(given).items() if items > 1}
    changed = [text for text, now in zip(given, found, strict=True) if text != now]
    assert set(changed) <= sharing and own.moved == len(changed) <= 31
