"""Three ways from a log to its windows: recllm's stages, Python loops, and pandas.

All start from the same Parquet file (row, user_id, item_id, timestamp), keep its k-core, number
the items in the order of their ids, hold out the last two interactions of each user (leave-one-out)
and write the items and every target with the items before it, at most MAX_HISTORY: the loops as
MiniOneRec does, a line of CSV with a list for each window, pandas as Parquet with offsets. Targets
that are held out are marked where they are cold. (The stages also write the filtered log.)
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
from recllm.catalog.split_names import HELD_OUT, SPLITS
from recllm.config.schema import Recipe
from recllm.config.validation import validate
from recllm.data_prep.filter import Filter
from recllm.data_prep.split import SplitStage

K = 5
MAX_HISTORY = 20
COLUMNS = ["user_id", "item_id", "timestamp"]

#: A user's interactions in the order of the log: time and item.
Visits: TypeAlias = list[tuple[int, str]]
#: User, history, target; whether its item and its user are cold.
Window: TypeAlias = tuple[str, list[int], int, bool, bool]


@dataclass(frozen=True)
class Offsets:
    """Windows as offsets: window i is of user `users[user[i]]`, and history `histories[i]`."""

    users: pa.Array
    user: NDArray[np.int64]
    histories: Spans
    target: NDArray[np.int32]
    cold_item: NDArray[np.bool_]
    cold_user: NDArray[np.bool_]

    def as_lists(self) -> pa.Table:
        """The windows with a copied list each, as the loops give them."""
        _, values = self.histories.flatten()
        offsets = np.concatenate([[0], np.cumsum(self.histories.lengths)])
        histories = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
        columns = [self.users.take(pa.array(self.user)), histories, pa.array(self.target)]
        return pa.table([*columns, self.cold_item, self.cold_user], WINDOW)


#: The columns of windows with lists.
WINDOW = ["user_id", "history", "target", "cold_item", "cold_user"]


def window_recipe(split: str) -> Recipe:
    """A recipe of what all ways do."""
    data = {"source": "simulated", "k_core": K, "split": split}
    return validate({"output_dir": "unused", "model": {"name": "unused"}, "data": data})


def write_by_stages(ingested: Path, folder: Path, split: str = "leave-one-out") -> Path:
    """Run the stages filter and split on an ingested log.

    Returns:
        The folder of the split, whose windows are offsets over sequences.parquet.
    """
    recipe = window_recipe(split)
    filtered, out = folder / "filter", folder / "split"
    for made in (filtered, out):
        made.mkdir(parents=True)
    Filter(recipe).build({"ingest": ingested}, filtered)
    SplitStage(recipe).build({"ingest": ingested, "filter": filtered}, out)
    return out


def read_offsets(split: Path, max_history: int = MAX_HISTORY) -> dict[str, Offsets]:
    """The windows of each split that the stage `split` wrote, cut to `max_history`."""
    sequences = pq.read_table(split / "sequences.parquet", columns=["user_id", "items"])
    items = sequences["items"].combine_chunks()
    users = sequences["user_id"].combine_chunks()
    firsts = items.offsets.to_numpy()
    found = {}
    for name in SPLITS:
        rows = pq.read_table(split / f"{name}.parquet")
        sequence, start, end = (rows[column].to_numpy() for column in ("sequence", "start", "end"))
        first = firsts[sequence].astype(np.int64)
        spans = Spans(
            items.values.to_numpy(), first + np.maximum(start, end - max_history), first + end
        )
        warm = np.zeros(len(rows), dtype=bool)
        cold = (rows[c].to_numpy() if name in HELD_OUT else warm for c in WINDOW[-2:])
        found[name] = Offsets(users, sequence, spans, rows["target"].to_numpy(), *cold)
    return found


def windows_by_loops(log: Path) -> tuple[list[str], dict[str, list[Window]]]:
    """Loops over dictionaries and lists, as research code prepares its windows.

    Returns:
        The items in the order of their numbers, and the windows of each split.
    """
    table = pq.read_table(log, columns=COLUMNS)
    visits: dict[str, Visits] = {}
    for user, item, time in zip(*(table[name].to_pylist() for name in COLUMNS), strict=True):
        visits.setdefault(user, []).append((time, item))
    visits = _core_by_loops(visits)
    items = sorted({item for own in visits.values() for _, item in own})
    numbers = {item: number for number, item in enumerate(items)}
    sequences = {}
    for user, own in visits.items():
        own.sort(key=itemgetter(0))
        sequences[user] = [numbers[item] for _, item in own]
    trained = {item for sequence in sequences.values() for item in sequence[:-2]}
    trained_users = {user for user, sequence in sequences.items() if sequence[:-2]}
    windows: dict[str, list[Window]] = {name: [] for name in SPLITS}
    for user, sequence in sequences.items():
        for end in range(1, len(sequence)):
            left = len(sequence) - end
            name = "train" if left > 2 else "valid" if left == 2 else "test"
            history, target = sequence[max(0, end - MAX_HISTORY) : end], sequence[end]
            cold = name != "train" and target not in trained
            windows[name].append((user, history, target, cold, user not in trained_users))
    return items, windows


def write_by_loops(log: Path, out: Path) -> None:
    """The items and windows of the loops as CSV, a file for each split."""
    items, windows = windows_by_loops(log)
    out.mkdir(exist_ok=True)
    for name, rows in {"items": enumerate(items), **windows}.items():
        with (out / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)


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
    users, histories, targets, *cold = zip(*sorted(windows, key=itemgetter(0)), strict=True)
    columns = [users, pa.array(histories, pa.list_(pa.int32())), pa.array(targets, pa.int32())]
    return pa.table([*columns, *map(pa.array, cold)], WINDOW)


def offsets_by_pandas(log: Path) -> tuple[pa.Array, dict[str, Offsets]]:
    """The same with the vectorised operations of pandas and numpy, in memory.

    Returns:
        The items in the order of their numbers, and the windows of each split.
    """
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
    item, items = pd.factorize(frame.item_id, sort=True)
    order = np.lexsort((frame.timestamp.to_numpy(), sequence))
    sequence, item = sequence[order], item[order].astype(np.int32)
    lengths = np.bincount(sequence)
    starts = np.cumsum(lengths) - lengths
    place = np.arange(len(sequence)) - starts[sequence]
    left = lengths[sequence] - place
    trained = np.bincount(item[left > 2], minlength=len(items)) > 0
    trained_users = lengths > 2
    windows = {}
    for name, chosen in zip(SPLITS, (left > 2, left == 2, left == 1), strict=True):
        end = np.flatnonzero((place > 0) & chosen)
        histories = Spans(item, np.maximum(starts[sequence[end]], end - MAX_HISTORY), end)
        cold = ~trained[item[end]] & (name != "train"), ~trained_users[sequence[end]]
        user_ids = pa.array(users, pa.string())
        windows[name] = Offsets(user_ids, sequence[end], histories, item[end], *cold)
    return pa.array(items, pa.string()), windows


def write_by_pandas(log: Path, out: Path) -> None:
    """The items and windows of pandas, which are offsets over a table of sequences, as Parquet."""
    items, windows = offsets_by_pandas(log)
    out.mkdir(exist_ok=True)
    pq.write_table(pa.table({"item_id": items}), out / "items.parquet")
    pq.write_table(pa.table({"item": windows["train"].histories.items}), out / "sequences.parquet")
    for name, found in windows.items():
        spans = found.histories
        columns = {"start": spans.starts, "end": spans.ends, "target": found.target}
        columns |= {"cold_item": found.cold_item, "cold_user": found.cold_user}
        users = found.users.take(pa.array(found.user))
        pq.write_table(pa.table({"user_id": users} | columns), out / f"{name}.parquet")
