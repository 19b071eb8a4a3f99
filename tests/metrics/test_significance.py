"""Randomisation tests: exact on few users, level and power on many; Holm's correction."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.metrics import holm, randomization_p_values


def test_few_users_agree_with_all_sign_patterns() -> None:
    differences = np.array([[0.5, 1.0], [0.25, -1.0], [-0.125, 0.0], [1.0, 0.5], [0.5, 0.25]])
    users = np.array(["a", "b", "c", "a", "d"])
    sums = np.array([differences[users == user].sum(axis=0) for user in "abcd"])
    flipped = np.abs([np.array(signs) @ sums for signs in product((-1, 1), repeat=4)])
    exact = (flipped >= np.abs(sums.sum(axis=0)) - 1e-12).mean(axis=0)
    found = randomization_p_values(differences, users, 20_000, 0)
    assert found == pytest.approx(exact, abs=0.015)


def test_alike_recommenders_are_told_apart_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(0)
    columns = rng.integers(-1, 2, size=(200, 400)).astype(float)
    p_values = randomization_p_values(columns, np.arange(200), 400, 1)
    assert 0.02 <= (p_values <= 0.05).mean() <= 0.085


def test_a_clear_difference_is_found_and_none_is_not() -> None:
    rng = np.random.default_rng(0)
    clear = (rng.random(500) < 0.3) * 1.0 - (rng.random(500) < 0.1)
    columns = np.stack([clear, np.zeros(500)], axis=1)
    better, equal = randomization_p_values(columns, np.arange(500), 999, 0)
    assert better == 1 / 1000
    assert equal == 1


def test_rows_of_a_user_change_their_signs_together() -> None:
    users = np.repeat(np.arange(3), 100)  # 300 rows say no more than their three users
    assert randomization_p_values(np.ones((300, 1)), users, 4000, 0)[0] == pytest.approx(
        0.25, abs=0.03
    )


def test_holm_as_in_a_worked_example() -> None:
    p_values = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(p_values) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert len(holm(np.zeros(0))) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_lies_between_one_test_and_all(p_values: list[float]) -> None:
    found = holm(np.array(p_values))
    assert (np.array(p_values) <= found).all()
    assert (found <= np.minimum(1, len(p_values) * np.array(p_values)) + 1e-12).all()
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
