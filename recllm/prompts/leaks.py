"""The leak lint: no prompt shows its target or anything later, judged by provenance, not text."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.histories import Sequences, SplitRows
from recllm.errors import UserError
from recllm.prompts.examples import NOWHERE, Examples


@dataclass(frozen=True)
class Leak:
    """A fault of a split: how many interactions have it, and the log row of one of them."""

    fault: str
    count: int
    row: int

    def __str__(self) -> str:
        return f"{self.count} {self.fault}, such as row {self.row} of the log"


def check_leaks(
    sequences: Sequences,
    splits: Mapping[str, SplitRows],
    times: NDArray[np.int64] | None = None,
) -> dict[str, int]:
    """Refuse splits that leak; see `find_leaks`.

    Returns:
        `repeated_targets_<split>`: rows whose target also stands in their history; legitimate.

    Raises:
        UserError: they leak.
    """
    leaks = find_leaks(sequences, splits, times)
    if leaks:
        raise UserError("leak: " + "; ".join(map(str, leaks)) + "; the split must keep them apart")
    return {f"repeated_targets_{name}": count_repeats(rows) for name, rows in splits.items()}


def find_leaks(
    sequences: Sequences,
    splits: Mapping[str, SplitRows],
    times: NDArray[np.int64] | None = None,
) -> list[Leak]:
    """Check every row of every split against the interactions that it is made of.

    A leak is: a history that is empty or reaches its target; a training target that is not a
    training interaction of its sequence (these come before all others), a validation or test
    target that is one; an interaction that is a target in two splits.

    Args:
        splits: train, valid and test by name, in this order.
        times: (interactions,) the time of each of the sequences' interactions, where one cut
            parts those of all users; or its place in their order, see `read_moments`. Then it is
            a leak too where a target of valid is no later than the last training interaction of
            anybody, or one of test than that or than the last target of valid.
    """
    leaks = [leak for name, rows in splits.items() for leak in _row_leaks(name, sequences, rows)]
    names = list(splits)
    for index, name in enumerate(names):
        for other in names[:index]:
            shared = np.intersect1d(splits[other].row, splits[name].row)
            if len(shared):
                fault = f"interactions are targets in both {other} and {name}"
                leaks.append(Leak(fault, len(shared), int(shared[0])))
    return leaks if times is None else leaks + _late_leaks(sequences, splits, times)


def _row_leaks(name: str, sequences: Sequences, rows: SplitRows) -> Iterator[Leak]:
    position = sequences.offsets[rows.sequence] + rows.end
    inside = position < sequences.offsets[rows.sequence + 1]
    in_training = rows.end < sequences.train_ends[rows.sequence]
    position = np.minimum(position, len(sequences.items) - 1)
    faults = {
        "have no history": rows.start >= rows.end,
        "have a history that does not end right before their target": ~inside
        | (sequences.items[position] != rows.target)
        | (sequences.rows[position] != rows.row),
    }
    if name == "train":
        faults["have a target that is not a training interaction"] = ~in_training
    else:
        faults["have a target that is a training interaction"] = in_training
    for fault, wrong in faults.items():
        yield from _leak(f"rows of {name} {fault}", wrong, rows.row)


def _late_leaks(
    sequences: Sequences, splits: Mapping[str, SplitRows], times: NDArray[np.int64]
) -> list[Leak]:
    """Targets that are no later than what a model is trained or chosen on."""
    place = np.arange(len(times)) - np.repeat(sequences.offsets[:-1], np.diff(sequences.offsets))
    trained = place < np.repeat(sequences.train_ends, np.diff(sequences.offsets))
    seen = times[trained]
    leaks: list[Leak] = []
    for name, rows in splits.items():
        if name == "train":
            continue
        position = np.minimum(sequences.offsets[rows.sequence] + rows.end, len(times) - 1)
        target_times = times[position]
        early = target_times <= seen.max(initial=np.iinfo(np.int64).min)
        fault = f"targets of {name} are no later than something trained or validated on"
        leaks += _leak(fault, early, rows.row)
        seen = np.concatenate([seen, target_times])
    return leaks


def _leak(fault: str, wrong: NDArray[Any], rows: NDArray[np.int64]) -> Iterator[Leak]:
    if wrong.any():
        yield Leak(fault, int(wrong.sum()), int(rows[np.argmax(wrong)]))


def count_repeats(rows: SplitRows) -> int:
    """How many rows have a target that also stands in their history."""
    span, items = rows.histories.flatten()
    repeated = np.zeros(len(rows), dtype=bool)
    repeated[span[items == rows.target[span]]] = True
    return int(repeated.sum())


def check_examples(
    task: str, examples: Examples, sequences: Sequences, held_out: bool = False
) -> None:
    """Refuse examples of a task that show their target, something later, or what is held out.

    Args:
        held_out: whether the examples may be of valid and test rows.

    Raises:
        UserError: some do.
    """
    target, seen = examples.target, examples.seen
    asked, shown = target != NOWHERE, seen != NOWHERE
    # in the first place where there is none, which counts for nothing
    at, last = np.maximum(target, 0), np.maximum(seen, 0)
    other = sequences.owners(at) != sequences.owners(last)
    faults = {
        "show their target or a later interaction": asked & shown & (seen >= target),
        "show interactions of another sequence": asked & shown & other,
    }
    if not held_out and (asked | shown).any():
        trained = sequences.is_training(at), sequences.is_training(last)
        faults["ask for an interaction that is not trained on"] = asked & ~trained[0]
        fault = "show, or were written from, an interaction that is not trained on"
        faults[fault] = shown & ~trained[1]
    rows = examples.rows(sequences)
    leaks = [
        leak
        for fault, wrong in faults.items()
        for leak in _leak(f"examples of task {task} {fault}", wrong, rows)
    ]
    if leaks:
        raise UserError("leak: " + "; ".join(map(str, leaks)))
