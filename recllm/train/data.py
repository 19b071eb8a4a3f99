"""Training rows as the dataset that a trainer reads."""

from pathlib import Path

import pyarrow.parquet as pq
from datasets import Dataset
from datasets.table import InMemoryTable


def read_training_rows(path: Path) -> Dataset:
    """`input_ids` and `labels` of the rows that the prompts stage wrote, without copying them."""
    return Dataset(InMemoryTable(pq.read_table(path, columns=["input_ids", "labels"])))


def row_lengths(rows: Dataset) -> list[int]:
    """The tokens of each row."""
    chunks = rows.data.column("input_ids").chunks
    return [length for chunk in chunks for length in chunk.value_lengths().to_pylist()]
