"""Which prompts are rolled out together, and which take the place of others."""

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recllm.train.group_batches import GroupBatches, replacement
from recllm.train.rl_rows import hard_first


@given(
    rows=st.integers(1, 60),
    batch=st.integers(1, 5),
    processes=st.integers(1, 4),
    uses=st.integers(1, 3),
    seed=st.integers(0, 3),
)
def test_processes_share_the_batches_of_one(
    rows: int, batch: int, processes: int, uses: int, seed: int
) -> None:
    together = batch * processes
    one = list(GroupBatches(rows, together, uses=uses, order=None, seed=seed))
    each = [
        list(
            GroupBatches(rows, batch, uses=uses, order=None, seed=seed, rank=r, processes=processes)
        )
        for r in range(processes)
    ]
    assert len(one) == rows // together * uses
    for rank, own in enumerate(each):
        assert own == [whole[rank::processes] for whole in one]
    for first in range(0, len(one), uses):  # a rollout serves the small steps that follow it
        assert one[first : first + uses] == [one[first]] * uses
    shown = [row for whole in one[::uses] for row in whole]
    assert len(set(shown)) == len(shown) == rows // together * together


def test_a_fixed_order_is_kept_in_each_epoch() -> None:
    batches = GroupBatches(5, 2, uses=1, order=[4, 0, 3, 1, 2])
    assert list(batches) == [[4, 0], [3, 1]]
    assert list(batches) == [[4, 0], [3, 1]]


def test_what_takes_a_place_depends_on_its_key_alone() -> None:
    drawn = [replacement(50, 7, step, place, 1) for step in range(20) for place in range(10)]
    assert drawn == [
        replacement(50, 7, step, place, 1) for step in range(20) for place in range(10)
    ]
    assert set(islice(drawn, 100)) <= set(range(50))
    assert len(set(drawn)) > 40


def test_hard_prompts_come_first() -> None:
    ranks = np.array([3, -1, 0, 7, -1, 3])
    assert hard_first(ranks, finds_all=False).tolist() == [3, 0, 5, 2, 1, 4]
    assert hard_first(ranks, finds_all=True).tolist() == [1, 4, 3, 0, 5, 2]
