"""Coverage, Gini, novelty, diversity against loops and by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.metrics.beyond_accuracy import (
    coverage,
    diversity,
    gini,
    mean_popularity,
    novelty,
    popularity_profile,
)

CATALOGUE = 8
LISTS = st.lists(
    st.lists(st.integers(0, CATALOGUE - 1), unique=True, max_size=4), min_size=1, max_size=10
)


def padded(lists: list[list[int]]) -> np.ndarray:
    return np.array([[*row, *[-1] * (4 - len(row))] for row in lists])


@given(LISTS)
def test_against_loops(lists: list[list[int]]) -> None:
    items = padded(lists)
    shown = [item for row in lists for item in row]
    assert coverage(items, CATALOGUE) == len(set(shown)) / CATALOGUE
    counts = [shown.count(item) for item in range(CATALOGUE)]
    spread = sum(abs(a - b) for a, b in itertools.product(counts, counts))
    expected = spread / (2 * CATALOGUE * len(shown)) if shown else 0.0
    assert gini(items, CATALOGUE) == pytest.approx(expected)
    groups = np.arange(CATALOGUE) // 3
    shares = [
        np.mean([groups[a] != groups[b] for a, b in itertools.combinations(row, 2)])
        for row in lists
        if len(row) > 1
    ]
    assert diversity(items, groups) == pytest.approx(np.mean(shares) if shares else 0.0)


@given(
    LISTS,
    st.lists(st.integers(0, 5), min_size=CATALOGUE, max_size=CATALOGUE),
    st.integers(1, 12),
)
def test_profile_against_loops(lists: list[list[int]], popularity: list[int], groups: int) -> None:
    shown = [item for row in lists for item in row]
    order = sorted(range(CATALOGUE), key=lambda item: (-popularity[item], item))
    expected = [0.0] * groups
    for item in shown:
        expected[order.index(item) * groups // CATALOGUE] += 1 / len(shown)
    found = popularity_profile(padded(lists), np.array(popularity), groups)
    assert found == pytest.approx(expected)
    sizes = np.bincount([place * groups // CATALOGUE for place in range(CATALOGUE)])
    assert groups > CATALOGUE or sizes.max() - sizes.min() <= 1


def test_novelty_is_in_bits_and_finite_for_cold_items() -> None:
    popularity = np.array([4, 2, 2, 0])
    assert novelty(np.array([[0, 1]]), popularity) == pytest.approx((1 + 2) / 2)
    assert novelty(np.array([[3, -1]]), popularity) == pytest.approx(3.0)
    assert novelty(np.array([[-1]]), popularity) == 0.0
    assert np.isfinite(novelty(np.array([[0]]), np.zeros(1, dtype=int)))


def test_mean_popularity_passes_over_padding() -> None:
    assert mean_popularity(np.array([[0, 1], [2, -1]]), np.array([5, 3, 1])) == 3.0
    assert mean_popularity(np.array([[-1]]), np.array([5])) == 0.0
