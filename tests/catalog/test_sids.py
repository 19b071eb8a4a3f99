"""Semantic IDs: their tokens and their file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recllm.catalog.sids import SidIndex, sid_token
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
