"""The leak lint: no prompt shows its target or anything later, judged by provenance, not text."""

import numpy as np

from recllm.catalog.histories import Sequences, SplitRows
from recllm.errors import UserError


def check_leaks(sequences: Sequences, splits: dict[str, SplitRows]) -> dict[str, int]:
    """Check every row of every split against the interactions that it is made of.

    Returns:
        `repeated_targets_<split>`: rows whose target also stands in their history; legitimate.

    Raises:
        UserError: a history is empty or reaches its target, a training target is not a training
            interaction, a validation or test target is one, or one interaction is a target twice
            across splits.
    """
    targets_seen: dict[str, np.ndarray] = {}
    for name, rows in splits.items():
        _check_rows(name, sequences, rows)
        for other, seen in targets_seen.items():
            shared = np.intersect1d(seen, rows.row)
            if len(shared):
                raise UserError(
                    f"leak: {len(shared)} interactions are targets in both {other} and {name}, "
                    f"such as row {shared[0]} of the log; a split must keep them apart"
                )
        targets_seen[name] = rows.row
    return {f"repeated_targets_{name}": _count_repeats(rows) for name, rows in splits.items()}


def _check_rows(name: str, sequences: Sequences, rows: SplitRows) -> None:
    position = sequences.offsets[rows.sequence] + rows.end
    inside = position < sequences.offsets[rows.sequence + 1]
    train_end = sequences.train_ends[rows.sequence]
    in_training = rows.end < train_end
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
        if wrong.any():
            first = int(rows.row[np.argmax(wrong)])
            raise UserError(
                f"leak: {int(wrong.sum())} rows of {name} {fault}, such as row {first} of the log"
            )


def _count_repeats(rows: SplitRows) -> int:
    span, items = rows.histories.flatten()
    repeated = np.zeros(len(rows), dtype=bool)
    repeated[span[items == rows.target[span]]] = True
    return int(repeated.sum())
