"""The leak lint finds each way in which a prompt could show its target."""

import dataclasses

import numpy as np
import pytest
from builders import make_rows, make_sequences

from recllm.errors import UserError
from recllm.prompts.leaks import check_leaks

SEQUENCES = make_sequences([[1, 2, 3, 2, 4], [5, 6, 7, 8, 9]], [3, 3])
TRAIN = make_rows(SEQUENCES, [(0, 0, 1), (0, 0, 2), (1, 0, 1), (1, 0, 2)])
VALID = make_rows(SEQUENCES, [(0, 0, 3), (1, 0, 3)])
TEST = make_rows(SEQUENCES, [(0, 0, 4), (1, 0, 4)])


def test_a_sound_split_passes_and_repeats_are_counted() -> None:
    counts = check_leaks(SEQUENCES, {"train": TRAIN, "valid": VALID, "test": TEST})
    assert counts == {
        "repeated_targets_train": 0,
        "repeated_targets_valid": 1,
        "repeated_targets_test": 0,
    }


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": VALID}, "target that is not a training interaction"),
        ({"valid": TRAIN}, "target that is a training interaction"),
        ({"valid": VALID, "test": VALID}, "targets in both valid and test"),
        (
            {"valid": dataclasses.replace(VALID, end=VALID.end + 1)},
            "history that does not end right before their target",
        ),
        ({"valid": dataclasses.replace(VALID, start=VALID.end)}, "have no history"),
        (
            {"valid": dataclasses.replace(VALID, target=np.array([9, 9], dtype=np.int32))},
            "history that does not end right before their target",
        ),
    ],
)
def test_each_leak_is_found(splits: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_leaks(SEQUENCES, splits)
