"""Semantic IDs: their tokens and their file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recllm.catalog.sids import SidIndex, TitleIndex, read_index, sid_token
from recllm.errors import UserError


@pytest.fixture
def index() -> SidIndex:
    codes = np.array([[12, 200, 7], [0, 255, 255]], dtype=np.int32)
    return SidIndex(["x", "y"], codes, codes_per_level=256)


def test_text_is_one_token_a_level(index):
    assert index.texts() == ["<a_12><b_200><c_7>", "<a_0><b_255><c_255>"]
    assert index.text(0) == index.texts()[0]
    assert sid_token(3, 9) == "<d_9>"


def test_tokens_stand_level_by_level_used_or_not(index):
    tokens = index.tokens()
    assert len(tokens) == len(set(tokens)) == 3 * 256
    assert tokens[0] == "<a_0>" and tokens[256] == "<b_0>" and tokens[-1] == "<c_255>"
    for level, code in enumerate(index.codes[0]):
        assert tokens[level * 256 + code] == sid_token(level, code)


def test_a_written_index_reads_back(index, tmp_path):
    index.write(tmp_path / "sids.parquet")
    back = SidIndex.read(tmp_path / "sids.parquet")
    assert back.item_ids == index.item_ids
    assert back.codes.tolist() == index.codes.tolist()
    assert back.codes.dtype == np.int32
    assert (len(back), back.levels, back.codes_per_level) == (2, 3, 256)


def test_other_files_are_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="expected a SID index"):
        SidIndex.read(tmp_path / "missing.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(UserError, match="expected a SID index"):
        SidIndex.read(tmp_path / "text.parquet")
    pq.write_table(pa.table({"item_id": ["x"]}), tmp_path / "table.parquet")
    with pytest.raises(UserError, match="expected a SID index"):
        SidIndex.read(tmp_path / "table.parquet")


def test_levels_may_differ_in_codes_and_sids_in_length(tmp_path):
    codes = np.array([[1, 4, 0], [0, -1, -1], [1, 2, -1]], dtype=np.int32)
    index = SidIndex(["x", "y", "z"], codes, (2, 5, 1))
    assert index.variable_depth and index.sizes == (2, 5, 1) and index.levels == 3
    assert index.texts() == ["<a_1><b_4><c_0>", "<a_0>", "<a_1><b_2>"]
    assert index.tokens() == [
        "<a_0>", "<a_1>", "<b_0>", "<b_1>", "<b_2>", "<b_3>", "<b_4>", "<c_0>",
    ]  # fmt: skip
    index.write(tmp_path / "sids.parquet")
    lists = pq.read_table(tmp_path / "sids.parquet")["codes"].to_pylist()
    assert lists == [[1, 4, 0], [0], [1, 2]]
    back = SidIndex.read(tmp_path / "sids.parquet")
    assert np.array_equal(back.codes, codes) and back.codes.dtype == np.int32
    assert back.sizes == index.sizes and back.item_ids == index.item_ids
    assert not SidIndex(["x"], codes[:1], (2, 5, 1)).variable_depth


def test_titles_are_an_index_without_tokens(tmp_path):
    index = TitleIndex(["x", "y", "z"], ["Heat", "Emma", "Heat (2)"])
    assert index.variable_depth and index.tokens() == [] and len(index) == 3
    assert len(set(index.prefixes()[:, 0].tolist())) == 3
    index.write(tmp_path / "sids.parquet")
    assert read_index(tmp_path / "sids.parquet") == index
    with pytest.raises(UserError, match="expected SIDs, found an index of titles"):
        SidIndex.read(tmp_path / "sids.parquet")
