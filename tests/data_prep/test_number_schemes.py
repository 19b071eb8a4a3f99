"""Random and sequential indexing: numbers, and their digits."""

import numpy as np
import pytest
from catalogues import make_input
from hypothesis import given
from hypothesis import strategies as st

from recllm.catalog.sids import SidIndex
from recllm.data_prep.quantizers import Indexing
from recllm.data_prep.quantizers._numbers import digits, smallest_base
from recllm.data_prep.quantizers.random import Random
from recllm.data_prep.quantizers.sequential import Sequential


def numbers_of(found: Indexing) -> list[int]:
    """The numbers that SIDs write."""
    index = found.index
    assert isinstance(index, SidIndex)
    base, numbers = max(index.sizes), []
    for codes in index.codes.tolist():
        number = 0
        for code in codes:
            number = number * base + code
        numbers.append(number)
    return numbers


@given(st.integers(1, 10**9), st.integers(1, 8))
def test_the_base_is_the_smallest_that_fits(count: int, places: int) -> None:
    base = smallest_base(count, places)
    assert base**places >= count
    assert base == 1 or (base - 1) ** places < count


@given(st.lists(st.integers(0, 9999), min_size=1), st.integers(4, 6))
def test_digits_are_those_of_the_decimal_system(numbers: list[int], places: int) -> None:
    found = digits(np.array(numbers), 10, places)
    assert ["".join(map(str, row)) for row in found.tolist()] == [
        str(number).zfill(places) for number in numbers
    ]


@given(st.integers(1, 200), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_random_numbers_are_all_numbers_once(items: int, levels: int, seed: int) -> None:
    given_items = make_input(items, levels=levels, codes=256, seed=seed)
    found = Random().index(given_items)
    assert sorted(numbers_of(found)) == list(range(items))
    assert found.index.prefixes().shape == (items, levels)


def test_random_is_another_with_another_seed() -> None:
    one, other = (numbers_of(Random().index(make_input(50, seed=seed))) for seed in (0, 1))
    assert one != other


@given(st.lists(st.lists(st.integers(0, 19), max_size=8), max_size=6))
def test_sequential_numbers_items_as_they_are_met(sequences: list[list[int]]) -> None:
    expected: dict[int, int] = {}
    for sequence in sequences:
        for item in sequence:
            expected.setdefault(item, len(expected))
    never = 20 - len(expected)
    for item in range(20):
        expected.setdefault(item, len(expected))
    found = Sequential().index(make_input(20, sequences))
    assert numbers_of(found) == [expected[item] for item in range(20)]
    assert found.counts == {"items_without_training": never}


def test_neighbours_share_a_prefix() -> None:
    found = Sequential().index(make_input(27, [[26, 3, 7], [7, 5, 0]], levels=3, codes=9))
    codes = found.index.prefixes().tolist()
    assert [codes[item] for item in (26, 3, 7, 5, 0)] == [
        [0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0], [0, 1, 1],
    ]  # fmt: skip


def test_as_many_codes_as_are_needed() -> None:
    index = Random().index(make_input(100, levels=2, codes=256)).index
    assert isinstance(index, SidIndex)
    assert index.sizes == (10, 10)
    assert len(index.tokens()) == 20
    with pytest.raises(Exception, match="found 81 SIDs"):
        Random().index(make_input(100, levels=2, codes=9))
