"""Draws: exact counts, fair lots, and nothing that depends on the order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recllm.prompts.drawing import choose, draw


@given(
    count=st.integers(0, 40),
    weight=st.floats(0.01, 3.5),
    cap=st.none() | st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_weights_and_caps_give_exact_counts(
    count: int, weight: float, cap: int | None, seed: int
) -> None:
    keys = np.arange(count) * 7 - 3
    index, copy = choose(keys, weight, cap, seed, "some task")
    whole, part = int(weight), round((weight % 1) * count)
    total = whole * count + part
    assert len(index) == len(copy) == (total if cap is None else min(cap, total))
    taken = [*zip(index.tolist(), copy.tolist(), strict=True)]
    assert len(set(taken)) == len(taken)
    assert taken == sorted(taken, key=lambda pair: (pair[1], pair[0]))
    if cap is None:
        times = np.bincount(index, minlength=count)
        assert set(times.tolist()) <= {whole, whole + 1}
        assert (times > whole).sum() == (part if part < count or not count else count)
    else:
        more, _ = choose(keys, weight, cap + 1, seed, "some task")
        assert set(index.tolist()) <= set(more.tolist())  # a larger cap only adds


@given(st.permutations(range(30)), st.integers(0, 2**32 - 1), st.integers(1, 50))
def test_the_choice_does_not_depend_on_the_order(order: list[int], seed: int, cap: int) -> None:
    keys = np.arange(30) + 1000
    index, copy = choose(keys, 1.5, cap, seed, "some task")
    moved, copies = choose(keys[order], 1.5, cap, seed, "some task")
    plain = zip(keys[index].tolist(), copy.tolist(), strict=True)
    assert {*plain} == {*zip(keys[order][moved].tolist(), copies.tolist(), strict=True)}


def test_lots_are_fair_and_differ_by_seed_purpose_and_copy() -> None:
    keys = np.arange(30_000)
    lots = draw(keys, 0, "phrasing")
    shares = np.bincount((lots % 3).astype(int)) / len(keys)
    assert np.abs(shares - 1 / 3).max() < 0.01
    others = [draw(keys, 1, "phrasing"), draw(keys, 0, "lot"), draw(keys, 0, "phrasing", 1)]
    for other in others:
        together = (lots % 3 == other % 3).mean()
        assert abs(together - 1 / 3) < 0.01
