"""A small catalogue with all that an indexing scheme may go by."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recllm.catalog.histories import Spans
from recllm.catalog.items import Items
from recllm.data_prep.quantizers import IndexingInput

KINDS = ("Care", "Make-up", "Tools")
PARTS = ("Face", "Hair", "Nails", "Feet")


def item_table(items: int) -> pa.Table:
    """Titles of which every seventh occurs twice, category paths of 1 to 3 names, given SIDs."""
    numbers = range(items)
    paths = [["Beauty", KINDS[i % 3], PARTS[i % 4]][: 3 if i % 5 else 2] for i in numbers]
    return pa.table(
        {
            "item_id": [f"id{i}" for i in numbers],
            "title": [f"Cream No. {i - i % 7 // 6}" for i in numbers],
            "categories": [" > ".join(path) if i % 11 else None for i, path in enumerate(paths)],
            "sid": [f"<a_{i % 8}><b_{i // 8 % 8}><c_{i // 64}>" for i in numbers],
        }
    )


def random_sequences(items: int, count: int, length: int, seed: int) -> list[list[int]]:
    """Sequences that stay near their first item."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, items, (count, 1))
    return ((first + rng.integers(0, 9, (count, length))) % items).tolist()


def no_vectors() -> NDArray[np.float32]:
    """In place of vectors that a scheme has not asked for."""
    raise AssertionError("a scheme that uses no vectors has read them")


def make_input(
    items: pa.Table | int,
    sequences: Sequence[Sequence[int]] = (),
    *,
    levels: int = 3,
    codes: int = 8,
    seed: int = 0,
    read_vectors: Callable[[], NDArray[np.float32]] = no_vectors,
) -> IndexingInput:
    """The input of a scheme; a number of items stands for a table of their ids alone."""
    if isinstance(items, int):
        items = pa.table({"item_id": [f"id{i}" for i in range(items)]})
    spans = Spans.from_lists(sequences)
    return IndexingInput(Items(items), spans, levels, codes, seed, read_vectors)
