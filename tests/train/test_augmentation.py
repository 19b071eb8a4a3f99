"""Item dropout: what is left is a part of the row, in its order, with the labels it had."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.config.loading import load_recipe
from recllm.errors import UserError
from recllm.prompts.training import IGNORED
from recllm.train.augmentation import ItemDropout

TOKENS = [np.array([10, 11, 12, 13]), np.array([14, 15, 16, 17, 18])]
TEXT = [3, 4, 99]  # below, and beyond, the tokens of SIDs


def identity(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"rows": rows}


def make_row(items: list[tuple[int, int]], supervised: int) -> dict[str, Any]:
    """Text, then items as codes; the last `supervised` items carry loss."""
    ids = [int(TOKENS[level][code]) for item in items for level, code in enumerate(item)]
    ignored = len(TEXT) + len(ids) - 2 * supervised
    return {
        "input_ids": TEXT + ids,
        "labels": [IGNORED] * ignored + ids[len(ids) - 2 * supervised :],
    }


def pairs(row: dict[str, Any]) -> list[tuple[tuple[int, int], bool]]:
    """The items of a row as tokens, and whether each carries loss."""
    ids, labels = row["input_ids"][len(TEXT) :], row["labels"][len(TEXT) :]
    found = []
    for start in range(0, len(ids), 2):
        item, label = tuple(ids[start : start + 2]), labels[start : start + 2]
        assert label in ([IGNORED] * 2, list(item))
        found.append((item, label[0] != IGNORED))
    return found


codes = st.tuples(st.integers(0, 3), st.integers(0, 4))
histories = st.lists(codes, min_size=2, max_size=12)


@given(st.lists(histories, min_size=1, max_size=6), st.floats(0, 0.99), st.data())
def test_a_shortened_row_is_a_part_of_it(
    lists: list[list[tuple[int, int]]], most: float, data: st.DataObject
) -> None:
    rows = [make_row(items, data.draw(st.integers(1, len(items) - 1))) for items in lists]
    collate = ItemDropout(identity, TOKENS, most, seed=0)
    shortened = collate(rows)["rows"]
    assert collate(rows)["rows"] == shortened  # the batch itself is the seed
    assert len(shortened) == len(rows)
    for before, after in zip(rows, shortened, strict=True):
        assert after["input_ids"][: len(TEXT)] == TEXT
        left, whole = pairs(after), iter(pairs(before))
        assert not left[0][1]  # nothing comes before the first item
        assert any(supervised for _, supervised in left)
        for place, (item, supervised) in enumerate(left):
            # the next one in the whole row that is this item with this loss
            assert any(i == item and (s == supervised or place == 0) for i, s in whole)


def test_as_many_items_are_left_out_as_asked() -> None:
    collate = ItemDropout(identity, TOKENS, 0.5, seed=0)
    items = [(i % 4, i // 4 % 4) for i in range(200)]
    batches = [collate([make_row([*items, (seed % 4, seed // 4 % 4)], 200)]) for seed in range(16)]
    left = [len(pairs(batch["rows"][0])) for batch in batches]
    assert 0.65 * 201 < np.mean(left) < 0.85 * 201
    assert len(set(left)) > 8


def test_only_whole_sequences_lose_items() -> None:
    with pytest.raises(UserError, match="set targets: all"):
        load_recipe("demo", ["sft.targets=last", "sft.drop_items=0.5"])


@given(histories, st.floats(0, 0.99))
def test_rows_of_other_tasks_stay_as_they_are(items: list[tuple[int, int]], most: float) -> None:
    """A title and its closed SID, and a history whose answer is a text."""
    end = 2
    sequence = make_row(items, 1)
    closed = {name: [*values, end] for name, values in make_row(items[:1], 1).items()}
    ids, text = make_row(items, 1)["input_ids"], [5, 99]
    told = {"input_ids": ids + text, "labels": [IGNORED] * len(ids) + text}
    rows = ItemDropout(identity, TOKENS, most, seed=0)([closed, sequence, told])["rows"]
    assert [rows[0], rows[2]] == [closed, told]
