"""Small tables for tests, made by hand."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recllm.catalog.histories import Sequences, Spans, SplitRows


def make_sequences(lists: list[list[int]], train_ends: list[int] | None = None) -> Sequences:
    """Sequences whose log rows count from 0."""
    spans = Spans.from_lists(lists)
    return Sequences(
        user_ids=[f"u{i}" for i in range(len(lists))],
        items=spans.items,
        rows=np.arange(len(spans.items), dtype=np.int64),
        offsets=np.concatenate([spans.starts, spans.ends[-1:]]),
        train_ends=np.array(train_ends or [len(items) for items in lists], dtype=np.int64),
    )


def make_rows(sequences: Sequences, spans: list[tuple[int, int, int]]) -> SplitRows:
    """Rows of (sequence, start, end), each with the item after its history as the target."""
    sequence, start, end = (np.array(column, dtype=np.int64) for column in zip(*spans, strict=True))
    base = sequences.offsets[sequence]
    return SplitRows(
        row=sequences.rows[base + end],
        user_ids=[sequences.user_ids[i] for i in sequence],
        sequence=sequence,
        start=start,
        end=end,
        target=sequences.items[base + end],
        histories=Spans(sequences.items, base + start, base + end),
    )


def write_stages(folder: Path, items: pa.Table, sequences: list[list[int]]) -> dict[str, Path]:
    """The folders of the filter and split stages, and an empty one of the embed stage.

    The last two items of each sequence are not for training.
    """
    inputs = {name: folder / name for name in ("filter", "split", "embed")}
    for path in inputs.values():
        path.mkdir(parents=True, exist_ok=True)
    pq.write_table(items, inputs["filter"] / "items.parquet")
    table = pa.table(
        {
            "sequence": pa.array(range(len(sequences)), pa.int64()),
            "user_id": [f"u{i}" for i in range(len(sequences))],
            "items": pa.array(sequences, pa.list_(pa.int32())),
            "rows": pa.array(sequences, pa.list_(pa.int64())),
            "train_end": pa.array([max(len(s) - 2, 0) for s in sequences], pa.int64()),
        }
    )
    pq.write_table(table, inputs["split"] / "sequences.parquet")
    return inputs


def write_leave_one_out(folder: Path, sequences: list[list[int]], items: int) -> dict[str, Path]:
    """The folders of the filter and split stages: the last item of each is test, one before valid.

    Log rows count from 0, sequence after sequence.
    """
    inputs = {name: folder / name for name in ("filter", "split")}
    for path in inputs.values():
        path.mkdir()
    pq.write_table(
        pa.table({"item_id": [f"i{i}" for i in range(items)], "title": ["t"] * items}),
        inputs["filter"] / "items.parquet",
    )
    lengths = [len(s) for s in sequences]
    offsets = np.cumsum([0, *lengths])
    rows = [list(range(offsets[i], offsets[i + 1])) for i in range(len(sequences))]
    users = [f"u{i}" for i in range(len(sequences))]
    columns = {
        "sequence": range(len(sequences)),
        "user_id": users,
        "items": pa.array(sequences, pa.list_(pa.int32())),
        "rows": pa.array(rows, pa.list_(pa.int64())),
        "train_end": [n - 2 for n in lengths],
    }
    pq.write_table(pa.table(columns), inputs["split"] / "sequences.parquet")
    for name, back in (("valid", 2), ("test", 1)):
        table = {
            "row": [r[-back] for r in rows],
            "user_id": users,
            "sequence": range(len(sequences)),
            "start": [0] * len(sequences),
            "end": [n - back for n in lengths],
            "target": pa.array([s[-back] for s in sequences], pa.int32()),
        }
        pq.write_table(pa.table(table), inputs["split"] / f"{name}.parquet")
    return inputs
