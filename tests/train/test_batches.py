"""Batches shared out over processes, against those of a single process."""

from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from recllm.errors import UserError
from recllm.train.batches import GlobalBatches, accumulation_steps
from recllm.train.data import row_lengths


def plain_batches(order: list[int], size: int) -> list[list[int]]:
    """The reference: the order, cut."""
    return [order[i : i + size] for i in range(0, len(order), size)]


@given(
    rows=st.integers(1, 60),
    batch=st.integers(1, 5),
    processes=st.integers(1, 4),
    epoch=st.integers(0, 2),
    by_length=st.booleans(),
)
def test_processes_share_the_batches_of_one(
    rows: int, batch: int, processes: int, epoch: int, by_length: bool
) -> None:
    lengths = np.random.default_rng(rows).integers(1, 9, rows) if by_length else None
    settings: dict[str, Any] = {"seed": rows, "epoch": lambda: epoch, "lengths": lengths}
    alone = list(GlobalBatches(rows, batch * processes, **settings))
    order = list(chain.from_iterable(alone))
    assert sorted(order) == list(range(rows))
    assert alone == plain_batches(order, batch * processes)
    shares = [
        GlobalBatches(rows, batch, rank=rank, processes=processes, **settings)
        for rank in range(processes)
    ]
    parts = [list(share) for share in shares]
    assert {len(part) for part in parts} == {len(alone)} == {len(share) for share in shares}
    for step, expected in enumerate(alone):
        found = [part[step] for part in parts]
        sizes = [len(rows_of_one) for rows_of_one in found]
        assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1
        taken = sorted(chain.from_iterable(found))
        if len(expected) >= processes:
            assert taken == sorted(expected)
        else:  # one row each, those that are missing from the epoch's start
            assert len(taken) == processes and set(expected) <= set(taken)


def test_an_epoch_is_drawn_by_the_seed_and_its_number() -> None:
    now = 0
    batches = GlobalBatches(20, 4, seed=1, epoch=lambda: now)
    first = list(batches)
    assert first == list(batches) == list(GlobalBatches(20, 4, seed=1))
    now = 1
    assert list(batches) != first
    assert list(GlobalBatches(20, 4, seed=2)) != first


def test_steps_of_the_optimizer_hold_rows_of_like_length() -> None:
    lengths = np.arange(64) % 8
    grouped = GlobalBatches(64, 2, processes=2, group=2, lengths=lengths)
    spread = [np.ptp(lengths[rows]) for rows in list(grouped)[1:]]  # the longest row comes first
    drawn = [np.ptp(lengths[rows]) for rows in GlobalBatches(64, 2, processes=2)]
    assert np.mean(spread) < np.mean(drawn) / 2


@pytest.mark.parametrize("drop_last", [True, False])
def test_a_batch_that_is_not_full_is_left_out_on_demand(drop_last: bool) -> None:
    batches = GlobalBatches(10, 4, drop_last=drop_last)
    assert len(batches) == len(list(batches)) == (2 if drop_last else 3)


def test_lengths_are_those_of_the_rows() -> None:
    rows = Dataset(pa.table({"input_ids": [[1, 2], [3], [4, 5, 6]], "labels": [[1], [1], [1]]}))
    assert row_lengths(rows).tolist() == [2, 1, 3]
    assert row_lengths(rows.select([2, 0])).tolist() == [3, 2]


@given(st.integers(1, 64), st.integers(1, 8), st.integers(1, 16))
def test_a_step_has_the_rows_that_were_asked_for(per_device: int, processes: int, steps: int):
    batch = per_device * processes * steps
    assert accumulation_steps(batch, per_device, processes) == steps


@pytest.mark.parametrize(
    ("batch", "per_device", "processes", "says"),
    [
        (100, 64, 1, "per_device_train_batch_size to 50"),
        (128, 64, 8, "64 rows at once in each of 8 processes; set .* to 16"),
        (10, 4, 3, "as many processes as divide 10"),
    ],
)
def test_a_step_of_no_whole_number_of_batches(batch, per_device, processes, says):
    with pytest.raises(UserError, match=says):
        accumulation_steps(batch, per_device, processes)
