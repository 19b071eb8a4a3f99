"""Three ways from a log to training windows: recllm's stages, Python loops, and pandas.

All start from the same Parquet file (row, user_id, item_id, timestamp), keep its k-core, number
the items in the order of their ids, hold out the last two interactions of each user (leave-one-out)
and write every training target with the items before it, at most MAX_HISTORY: the loops as
MiniOneRec does, a line of CSV with a list for each window, pandas as Parquet with offsets.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recllm.catalog.histories import Spans
from recllm.config.schema import Recipe
from recllm.config.validation import validate
from recllm.data_prep.filter import Filter
from recllm.data_prep.split import SplitStage

K = 5
MAX_HISTORY = 20
HELD_OUT = 2
COLUMNS = ["user_id", "item_id", "timestamp"]

#: A user's interactions in the order of the log: time and item.
Visits: TypeAlias = list[tuple[int, str]]
#: User, history, target.
Window: TypeAlias = tuple[str, list[int], int]


@dataclass(frozen=True)
class Offsets:
    """Windows as offsets: window i is of user `users[user[i]]`, and history `histories[i]`."""

    users: pa.Array
    user: NDArray[np.int64]
    histories: Spans
    target: NDArray[np.int32]

    def as_lists(self) -> pa.Table:
        """The windows with a copied list each, as the loops give them."""
        _, values = self.histories.flatten()
        offsets = np.concatenate([[0], np.cumsum(self.histories.lengths)])
        histories = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
        columns = [self.users.take(pa.array(self.user)), histories, pa.array(self.target)]
        return pa.table(columns, ["user_id", "history", "target"])


def window_recipe() -> Recipe:
    """A recipe of what all ways do."""
    data = {"source": "simulated", "k_core": K, "split": "leave-one-out"}
    return validate({"output_dir": "unused", "model": {"name": "unused"}, "data": data})


def write_by_stages(ingested: Path, folder: Path) -> Path:
    """Run the stages filter and split on an ingested log.

    Returns:
        The folder of the split, whose windows are offsets: train.parquet over sequences.parquet.
    """
    recipe = window_recipe()
    filtered, split = folder / "filter", folder / "split"
    for out in (filtered, split):
        out.mkdir(parents=True)
    Filter(recipe).build({"ingest": ingested}, filtered)
    SplitStage(recipe).build({"ingest": ingested, "filter": filtered}, split)
    return split


def read_offsets(split: Path) -> Offsets:
    """The training windows that the stage `split` wrote, cut to MAX_HISTORY."""
    sequences = pq.read_table(split / "sequences.parquet", columns=["user_id", "items"])
    rows = pq.read_table(split / "train.parquet", columns=["sequence", "start", "end", "target"])
    items = sequences["items"].combine_chunks()
    sequence, start, end = (rows[name].to_numpy() for name in ("sequence", "start", "end"))
    first = items.offsets.to_numpy()[sequence].astype(np.int64)
    spans = Spans(
        items.values.to_numpy(), first + np.maximum(start, end - MAX_HISTORY), first + end
    )
    users = sequences["user_id"].combine_chunks()
    return Offsets(users, sequence, spans, rows["target"].to_numpy())


def windows_by_loops(log: Path) -> list[Window]:
    """Loops over dictionaries and lists, as research code prepares its windows."""
    table = pq.read_table(log, columns=COLUMNS)
    visits: dict[str, Visits] = {}
    for user, item, time in zip(*(table[name].to_pylist() for name in COLUMNS), strict=True):
        visits.setdefault(user, []).append((time, item))
    visits = _core_by_loops(visits)
    items = sorted({item for own in visits.values() for _, item in own})
    numbers = {item: number for number, item in enumerate(items)}
    windows = []
    for user, own in visits.items():
        own.sort(key=itemgetter(0))
        sequence = [numbers[item] for _, item in own]
        for end in range(1, len(sequence) - HELD_OUT):
            windows.append((user, sequence[max(0, end - MAX_HISTORY) : end], sequence[end]))
    return windows


def write_by_loops(log: Path, out: Path) -> None:
    """The windows of the loops as CSV."""
    with out.open("w", newline="") as file:
        csv.writer(file).writerows(windows_by_loops(log))


def _core_by_loops(visits: dict[str, Visits]) -> dict[str, Visits]:
    """Drop rare items, then users with too few, until nothing changes."""
    while True:
        counts: dict[str, int] = {}
        for own in visits.values():
            for _, item in own:
                counts[item] = counts.get(item, 0) + 1
        kept = {}
        changed = False
        for user, own in visits.items():
            often = [visit for visit in own if counts[visit[1]] >= K]
            if len(often) >= K:
                kept[user] = often
            changed = changed or len(often) < max(len(own), K)
        if not changed:
            return kept
        visits = kept


def lists_of(windows: Sequence[Window]) -> pa.Table:
    """The windows of the loops as a table, in the order of users."""
    users, histories, targets = zip(*sorted(windows, key=itemgetter(0)), strict=True)
    columns = [users, pa.array(histories, pa.list_(pa.int32())), pa.array(targets, pa.int32())]
    return pa.table(columns, ["user_id", "history", "target"])


def offsets_by_pandas(log: Path) -> Offsets:
    """The same with the vectorised operations of pandas and numpy, in memory."""
    import pandas as pd

    frame = pd.read_parquet(log, columns=COLUMNS)
    frame: Any = frame.assign(
        user=pd.factorize(frame.user_id)[0], item=pd.factorize(frame.item_id)[0]
    )
    while True:
        kept = np.ones(len(frame), dtype=bool)
        for side in ("user", "item"):
            kept &= np.bincount(frame[side].to_numpy())[frame[side].to_numpy()] >= K
        if kept.all():
            break
        frame = frame[kept]
    sequence, users = pd.factorize(frame.user_id, sort=True)
    item, _ = pd.factorize(frame.item_id, sort=True)
    order = np.lexsort((frame.timestamp.to_numpy(), sequence))
    sequence, item = sequence[order], item[order].astype(np.int32)
    lengths = np.bincount(sequence)
    starts = np.cumsum(lengths) - lengths
    place = np.arange(len(sequence)) - starts[sequence]
    end = np.flatnonzero((place > 0) & (place < lengths[sequence] - HELD_OUT))
    first = np.maximum(starts[sequence[end]], end - MAX_HISTORY)
    return Offsets(pa.array(users, pa.string()), sequence[end], Spans(item, first, end), item[end])


def write_by_pandas(log: Path, out: Path) -> None:
    """The windows of pandas as a table of offsets over a table of items."""
    found = offsets_by_pandas(log)
    spans = found.histories
    windows = {"start": spans.starts, "end": spans.ends, "target": found.target}
    users = found.users.take(pa.array(found.user))
    pq.write_table(pa.table({"user_id": users} | windows), out.with_suffix(".windows.parquet"))
    pq.write_table(pa.table({"item": spans.items}), out.with_suffix(".items.parquet"))
