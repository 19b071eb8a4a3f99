"""Small tables for tests, made by hand."""

import numpy as np

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
