"""Training rows as the dataset that a trainer reads."""

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset
from datasets.table import InMemoryTable
from numpy.typing import NDArray


def read_training_rows(path: Path) -> Dataset:
    """`input_ids` and `labels` of the rows that the prompts stage wrote, without copying them."""
    return Dataset(InMemoryTable(pq.read_table(path, columns=["input_ids", "labels"])))


def row_lengths(rows: Dataset) -> NDArray[np.integer]:
    """(rows,) the tokens of each."""
    ids = rows.with_format("arrow")[:]["input_ids"]
    return pc.call_function("list_value_length", [ids]).to_numpy()
