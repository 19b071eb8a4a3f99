"""Spans and the split tables as flat arrays."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from recllm.catalog.histories import Sequences, Spans, SplitRows

LISTS = st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=8)


@given(LISTS)
def test_spans_hold_the_lists(lists: list[list[int]]) -> None:
    spans = Spans.from_lists(lists)
    assert [span.tolist() for span in spans] == lists
    assert spans.lengths.tolist() == [len(items) for items in lists]
    owner, items = spans.flatten()
    assert list(zip(owner, items, strict=True)) == [
        (i, x) for i, xs in enumerate(lists) for x in xs
    ]
    expected = [(xs[::-1] + [-1] * 3)[:3] for xs in lists]
    assert spans.last(3).tolist() == expected


def test_overlapping_spans_share_their_items() -> None:
    items = np.array([5, 6, 7, 8], dtype=np.int32)
    spans = Spans(items, np.array([1, 0]), np.array([4, 2]))
    assert [span.tolist() for span in spans] == [[6, 7, 8], [5, 6]]
    assert np.shares_memory(spans[0], items)
    assert spans.flatten()[1].tolist() == [6, 7, 8, 5, 6]
    assert [s.tolist() for s in spans.select(slice(1, 2))] == [[5, 6]]


def write_split(folder: Path) -> None:
    sequences = {
        "sequence": [0, 1],
        "user_id": ["ann", "bob"],
        "items": pa.array([[3, 1, 2, 0], [2, 4, 1]], pa.list_(pa.int32())),
        "rows": pa.array([[10, 11, 12, 13], [20, 21, 22]], pa.list_(pa.int64())),
        "train_end": [2, 1],
    }
    pq.write_table(pa.table(sequences), folder / "sequences.parquet")
    valid = {
        "row": [12, 21],
        "user_id": ["ann", "bob"],
        "sequence": [0, 1],
        "start": [0, 0],
        "end": [2, 1],
        "target": pa.array([2, 4], pa.int32()),
    }
    pq.write_table(pa.table(valid), folder / "valid.parquet")
    test = pa.table({**valid, "row": [13, 22], "end": [3, 2], "start": [1, 0], "target": [0, 1]})
    pq.write_table(test, folder / "test.parquet")


def test_reads_a_split(tmp_path: Path) -> None:
    write_split(tmp_path)
    sequences = Sequences.read(tmp_path)
    assert len(sequences) == 2 and sequences.user_ids == ["ann", "bob"]
    assert [s.tolist() for s in sequences.training_sequences()] == [[3, 1], [2]]
    assert all(s.dtype == np.int32 for s in sequences.training_sequences())
    assert sequences.rows.tolist() == [10, 11, 12, 13, 20, 21, 22]
    test = SplitRows.read(tmp_path, "test", sequences)
    assert test.history(0).tolist() == [1, 2]
    assert test.history(1).tolist() == [2, 4]
    assert np.shares_memory(test.history(0), sequences.items)
    assert test.target.dtype == np.int32 and test.user_ids == ["ann", "bob"]
    position = sequences.offsets[test.sequence] + test.end
    assert sequences.items[position].tolist() == test.target.tolist()
    assert sequences.rows[position].tolist() == test.row.tolist()


def test_reads_a_split_without_rows(tmp_path: Path) -> None:
    write_split(tmp_path)
    for name in ("sequences", "valid"):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    sequences = Sequences.read(tmp_path)
    assert len(sequences) == 0 and sequences.training_sequences() == []
    assert len(SplitRows.read(tmp_path, "valid", sequences)) == 0
