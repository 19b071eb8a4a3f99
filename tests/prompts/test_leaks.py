"""The leak lint finds each way in which a prompt could show its target."""

import dataclasses
import re

import numpy as np
import pytest
from builders import make_rows, make_sequences

from recllm.errors import UserError
from recllm.prompts.examples import Example, Examples
from recllm.prompts.leaks import check_examples, check_leaks, find_leaks

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


#: Of both users: trained on until 30, validated on at 40, tested on at 50.
TIMES = np.array([10, 20, 30, 40, 50, 11, 21, 30, 40, 50])


def late(changes: dict[int, int]) -> list[str]:
    times = TIMES.copy()
    times[list(changes)] = list(changes.values())
    return [
        str(leak)
        for leak in find_leaks(SEQUENCES, {"train": TRAIN, "valid": VALID, "test": TEST}, times)
    ]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        # the second user trains on something that happened when the first one is validated on
        ({7: 40, 8: 41}, ["1 targets of valid .* row 3 of the log"]),
        # and here when that one is tested on
        ({7: 50, 8: 51, 9: 52}, ["1 targets of valid .* row 3", "1 targets of test .* row 4 of"]),
        ({8: 50}, ["2 targets of test .* row 4 of the log"]),
    ],
)
def test_a_global_cut_holds_for_everybody(changes: dict[int, int], expected: list[str]) -> None:
    found = late(changes)
    assert len(found) == len(expected)
    for leak, pattern in zip(found, expected, strict=True):
        assert re.match(pattern, leak), leak


def test_all_leaks_are_told_at_once() -> None:
    with pytest.raises(UserError, match=r"rows of valid have .*; 2 interactions are targets in"):
        check_leaks(SEQUENCES, {"valid": TRAIN, "test": VALID, "train": VALID})


def examples(pairs: list[tuple[int, int]]) -> Examples:
    """Examples of (target, seen), as places in the sequences."""
    target, seen = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    return Examples(np.arange(len(pairs)), target, seen, lambda _: Example("", ""))


@pytest.mark.parametrize(
    ("pair", "fault"),
    [
        ((2, 1), None),
        ((6, -1), None),
        ((-1, 7), None),
        ((-1, -1), None),
        ((1, 1), "show their target or a later interaction, such as row 1 of the log"),
        ((1, 2), "show their target or a later interaction"),
        ((3, 2), "ask for an interaction that is not trained on, such as row 3 of the log"),
        ((-1, 8), "written from, an interaction that is not trained on, such as row 8"),
        ((6, 1), "show interactions of another sequence, such as row 6 of the log"),
    ],
)
def test_examples_are_judged_by_where_they_come_from(
    pair: tuple[int, int], fault: str | None
) -> None:
    given = examples([(2, 0), pair, (-1, -1)])
    if fault is None:
        check_examples("some-task", given, SEQUENCES)
        return
    with pytest.raises(UserError, match=f"leak: 1 examples of task some-task .*{fault}"):
        check_examples("some-task", given, SEQUENCES)


def test_examples_of_held_out_rows_may_see_what_came_before() -> None:
    check_examples("some-task", examples([(3, 2), (4, 3)]), SEQUENCES, held_out=True)
    with pytest.raises(UserError, match="show their target"):
        check_examples("some-task", examples([(3, 4)]), SEQUENCES, held_out=True)
