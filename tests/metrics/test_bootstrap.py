"""Intervals: coverage, whole users, pairing, determinism, bounded work."""

import numpy as np
import pytest

from recllm.metrics import bootstrap, bootstrap_interval, bootstrap_intervals, paired_interval


def test_covers_a_known_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    repetitions, rows, mean = 300, 200, 0.3
    covered = 0
    for repetition in range(repetitions):
        values = (rng.random(rows) < mean).astype(float)
        low, high = bootstrap_interval(values, np.arange(rows), 300, repetition)
        covered += low <= mean <= high
    assert 0.91 <= covered / repetitions <= 0.98


def test_width_is_that_of_the_normal_approximation() -> None:
    values = np.repeat([0.0, 1.0], 500)
    low, high = bootstrap_interval(values, np.arange(1000), 2000, 0)
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(1000), rel=0.08)


def test_rows_of_a_user_are_drawn_together() -> None:
    # 50 users of 20 equal rows each say as much as 50 rows, not as 1000
    users = np.repeat(np.arange(50), 20)
    values = (users % 2).astype(float)
    low, high = bootstrap_interval(values, users, 2000, 0)
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(50), rel=0.1)


def test_users_with_more_rows_weigh_more_and_names_do_not_matter() -> None:
    users = np.array(["b", "a", "b", "b"])
    low, high = bootstrap_interval(np.array([1.0, 0.0, 1.0, 1.0]), users, 500, 0)
    assert (low, high) == (0.0, 1.0)
    numbered = np.array([1, 0, 1, 1])
    values = np.array([0.2, 0.9, 0.4, 0.1])
    assert bootstrap_interval(values, users, 500, 3) == bootstrap_interval(values, numbered, 500, 3)


def test_is_deterministic_and_columns_share_their_resamples() -> None:
    rng = np.random.default_rng(1)
    columns = rng.random((80, 3))
    users = rng.integers(0, 30, 80)
    together = bootstrap_intervals(columns, users, 200, 7)
    alone = [bootstrap_interval(columns[:, i], users, 200, 7) for i in range(3)]
    assert together == pytest.approx(np.array(alone))
    assert not np.array_equal(together, bootstrap_intervals(columns, users, 200, 8))


def test_chunks_do_not_change_the_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    values, users = np.arange(40.0), np.arange(40)
    whole = bootstrap_interval(values, users, 100, 0)
    monkeypatch.setattr(bootstrap, "_DRAWS", 120)
    assert bootstrap_interval(values, users, 100, 0) == pytest.approx(whole)


def test_paired_is_tighter_than_apart() -> None:
    rng = np.random.default_rng(2)
    shared = rng.random(500)
    first, second = shared + 0.02, shared + rng.normal(0, 0.05, 500)
    low, high = paired_interval(first, second, np.arange(500), 500, 0)
    assert 0 < low < 0.02 < high < 0.04
    assert paired_interval(first, first, np.arange(500), 100, 0) == (0.0, 0.0)


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        bootstrap_interval(np.empty(0), np.empty(0), 100, 0)
