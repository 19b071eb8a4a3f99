"""Histories as offsets into sequences: flat arrays and views, never copied lists."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recllm.catalog.split_names import SplitName

#: Items by dense index, oldest first: a list, or a view into a sequence.
History: TypeAlias = Sequence[int] | NDArray[np.int32]


@dataclass(frozen=True)
class Spans:
    """Many runs of items inside one flat array; indexing and iterating give int32 views.

    Attributes:
        items: (interactions,) int32, shared by all spans.
        starts, ends: (spans,) int64; span i is items[starts[i]:ends[i]].
    """

    items: NDArray[np.int32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def from_lists(cls, lists: Iterable[Iterable[int]]) -> "Spans":
        """Spans over a copy of the given lists, laid end to end."""
        arrays = [np.asarray(list(items), dtype=np.int32) for items in lists]
        offsets = np.cumsum([0, *(len(array) for array in arrays)], dtype=np.int64)
        flat = np.concatenate([*arrays, np.empty(0, dtype=np.int32)])
        return cls(flat, offsets[:-1], offsets[1:])

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> NDArray[np.int32]:
        return self.items[self.starts[index] : self.ends[index]]

    def __iter__(self) -> Iterator[NDArray[np.int32]]:
        return (self[index] for index in range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(spans,) how many items each span has."""
        return self.ends - self.starts

    def select(self, which: slice | NDArray[np.int64]) -> "Spans":
        """Some of the spans, over the same items."""
        return Spans(self.items, self.starts[which], self.ends[which])

    def last(self, count: int) -> NDArray[np.int32]:
        """(spans, count): the items from the end backwards; -1 where a span is shorter."""
        positions = self.ends[:, None] - 1 - np.arange(count)
        inside = positions >= self.starts[:, None]
        found = np.full(positions.shape, -1, dtype=np.int32)
        found[inside] = self.items[positions[inside]]
        return found

    def flatten(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The span that each item belongs to, and the items: two arrays, span after span."""
        lengths = self.lengths
        span = np.repeat(np.arange(len(self)), lengths)
        shift = self.starts - (np.cumsum(lengths) - lengths)
        return span, self.items[np.arange(len(span)) + shift[span]]


@dataclass(frozen=True)
class Sequences:
    """The interactions of a split's `sequences.parquet`, as flat arrays.

    Attributes:
        user_ids: the user of each sequence.
        items: (interactions,) int32, sequence after sequence.
        rows: (interactions,) int64, the log row of each interaction.
        offsets: (sequences + 1,) int64; sequence i is items[offsets[i]:offsets[i + 1]].
        train_ends: (sequences,) int64, how many leading items are training interactions.
    """

    user_ids: list[str]
    items: NDArray[np.int32]
    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    train_ends: NDArray[np.int64]

    @classmethod
    def read(cls, folder: Path) -> "Sequences":
        """Read `sequences.parquet` in the folder of the split stage."""
        table = pq.read_table(folder / "sequences.parquet")
        items, rows = (_lists(table, name) for name in ("items", "rows"))
        lengths = items.value_lengths().to_numpy(zero_copy_only=False)
        return cls(
            user_ids=table["user_id"].to_pylist(),
            items=items.flatten().to_numpy(zero_copy_only=False).astype(np.int32, copy=False),
            rows=rows.flatten().to_numpy(zero_copy_only=False).astype(np.int64, copy=False),
            offsets=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
            train_ends=_numbers(table, "train_end"),
        )

    def __len__(self) -> int:
        return len(self.train_ends)

    @cached_property
    def training(self) -> Spans:
        """The training part of every sequence; a part can be empty."""
        return Spans(self.items, self.offsets[:-1], self.offsets[:-1] + self.train_ends)

    def training_sequences(self) -> list[NDArray[np.int32]]:
        """The training part of every sequence as a list of views."""
        return list(self.training)

    def owners(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The sequence that each place of the flat arrays is in."""
        return np.searchsorted(self.offsets, places, side="right") - 1

    def is_training(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the interaction at each place of the flat arrays is a training interaction."""
        owners = self.owners(places)
        return places - self.offsets[owners] < self.train_ends[owners]


@dataclass(frozen=True)
class SplitRows:
    """The rows of one split, as arrays; row i predicts `target[i]` from `history(i)`.

    Attributes:
        row: (rows,) int64, the log row of each target.
        user_ids: the user of each row.
        sequence: (rows,) int64, the sequence that each history lies in.
        start, end: (rows,) int64, the history within its sequence, as in the table.
        target: (rows,) int32.
        histories: the histories as spans over the sequences' items.
    """

    row: NDArray[np.int64]
    user_ids: list[str]
    sequence: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    target: NDArray[np.int32]
    histories: Spans

    @classmethod
    def read(cls, folder: Path, split: SplitName, sequences: Sequences) -> "SplitRows":
        """Read `train.parquet`, `valid.parquet` or `test.parquet` of the split stage."""
        table = pq.read_table(folder / f"{split}.parquet")
        row, sequence, start, end = (
            _numbers(table, name) for name in ("row", "sequence", "start", "end")
        )
        base = sequences.offsets[sequence]
        return cls(
            row=row,
            user_ids=table["user_id"].to_pylist(),
            sequence=sequence,
            start=start,
            end=end,
            target=_numbers(table, "target").astype(np.int32),
            histories=Spans(sequences.items, base + start, base + end),
        )

    def __len__(self) -> int:
        return len(self.row)

    def select(self, index: NDArray[np.int64]) -> "SplitRows":
        """Some of the rows, or rows that stand several times."""
        return SplitRows(
            row=self.row[index],
            user_ids=[self.user_ids[i] for i in index.tolist()],
            sequence=self.sequence[index],
            start=self.start[index],
            end=self.end[index],
            target=self.target[index],
            histories=self.histories.select(index),
        )

    def history(self, index: int) -> NDArray[np.int32]:
        """The history of one row, oldest item first: a view."""
        return self.histories[index]


def read_moments(
    folder: Path, sequences: Sequences, cut: Literal["time", "row"] | None
) -> NDArray[np.int64] | None:
    """What tells which interactions happened before a cut that parts those of all users.

    Args:
        folder: that of the filter stage that the sequences were made from.
        cut: `time`: rows of one time lie on one side of it; `row`: they are told apart by row.

    Returns:
        (interactions,) their times, or their places in the order of time, then row; None without
        a cut.
    """
    if cut is None:
        return None
    table = pq.read_table(folder / "interactions.parquet", columns=["row", "timestamp"])
    _require_same_rows(folder, table, sequences)
    times = table["timestamp"].to_numpy()
    if cut == "time":
        return times
    places = np.empty(len(times), dtype=np.int64)
    places[np.lexsort((sequences.rows, times))] = np.arange(len(times))
    return places


def read_ratings(folder: Path, sequences: Sequences) -> NDArray[np.float64] | None:
    """(interactions,) the ratings of the sequences' interactions, NaN where there is none.

    Args:
        folder: that of the filter stage that the sequences were made from.

    Returns:
        None for a log without ratings.
    """
    path = folder / "interactions.parquet"
    if "rating" not in pq.read_schema(path).names:
        return None
    table = pq.read_table(path, columns=["row", "rating"])
    _require_same_rows(folder, table, sequences)
    return table["rating"].to_numpy().astype(np.float64)


def _require_same_rows(folder: Path, table: pa.Table, sequences: Sequences) -> None:
    if not np.array_equal(table["row"].to_numpy(), sequences.rows):
        raise ValueError(f"{folder}: expected the interactions that the sequences are made of")


def _numbers(table: pa.Table, name: str) -> NDArray[np.int64]:
    return table[name].to_numpy().astype(np.int64, copy=False)


def _lists(table: pa.Table, name: str) -> pa.ListArray:
    column = table[name].combine_chunks()
    # pyarrow gives a chunked array without chunks where the table has no rows
    return column if isinstance(column, pa.Array) else pa.array([], table.schema.field(name).type)
