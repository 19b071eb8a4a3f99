"""Semantic indexing: category paths, and numbers within them."""

import numpy as np
import pyarrow as pa
import pytest
from catalogues import make_input
from hypothesis import given
from hypothesis import strategies as st

from recllm.catalog.sids import SidIndex
from recllm.data_prep.quantizers.hybrid import Hybrid
from recllm.data_prep.quantizers.semantic import Semantic
from recllm.errors import UserError

Paths = list[list[str]]


def catalogue(paths: Paths) -> pa.Table:
    texts = [" > ".join(path) or None for path in paths]
    ids = [f"id{i}" for i in range(len(paths))]
    return pa.table({"item_id": ids, "categories": pa.array(texts, pa.string())})


def index_of(paths: Paths, levels: int = 4, codes: int = 8, hybrid: bool = False) -> SidIndex:
    scheme = Hybrid(prefix="semantic") if hybrid else Semantic()
    found = scheme.index(make_input(catalogue(paths), levels=levels, codes=codes)).index
    assert isinstance(found, SidIndex)
    return found


def test_a_path_and_a_number() -> None:
    paths = [
        ["Beauty", "Nails", "Polish"],
        ["Beauty", "Nails"],
        ["Beauty", "Hair"],
        ["Beauty", "Nails", "Polish"],
        [],
    ]
    # <a_0> is Hair, <a_1> Nails, <b_0> Polish; numbers follow the names of their level.
    assert index_of(paths).texts() == [
        "<a_1><b_0><c_0>",
        "<a_1><b_1>",
        "<a_0><b_1>",
        "<a_1><b_0><c_1>",
        "<a_2>",
    ]
    assert index_of(paths, hybrid=True).texts() == [
        "<a_1><b_0><c_0>",
        "<a_1><b_1>",
        "<a_0><b_2>",
        "<a_1><b_0><c_1>",
        "<a_2>",
    ]


NAME = st.sampled_from("ABC")
PATHS = st.lists(st.lists(NAME, max_size=5), min_size=1, max_size=60).filter(any)


@given(PATHS, st.integers(4, 6), st.sampled_from([False, True]))
def test_against_a_plain_reading_of_the_rules(paths: Paths, levels: int, hybrid: bool) -> None:
    """With codes enough that every number has one digit."""
    index = index_of(paths, levels, 64, hybrid)
    known = [path for path in paths if path]
    shared = 0
    while all(path[: shared + 1] == known[0][: shared + 1] for path in known) and shared < min(
        map(len, known)
    ):
        shared += 1
    cut = [tuple(path[shared:][: levels - 1]) for path in paths]
    names = [
        {name: code for code, name in enumerate(sorted({p[d] for p in cut if len(p) > d}))}
        for d in range(levels)
    ]
    seen: dict[object, int] = {}
    for path, codes in zip(cut, index.codes.tolist(), strict=True):
        group = len(path) if hybrid else path
        number = seen[group] = seen.get(group, -1) + 1
        expected = [names[d][name] for d, name in enumerate(path)]
        expected.append(len(names[len(path)]) + number)
        assert codes == expected + [-1] * (index.levels - len(expected))
    assert len(set(index.texts())) == len(paths)


@given(PATHS, st.integers(1, 4), st.integers(2, 5))
def test_sids_are_never_longer_nor_codes_more_than_said(
    paths: Paths, levels: int, codes: int
) -> None:
    if codes**levels < len(paths):
        with pytest.raises(UserError, match=r"raise sid.codes or sid.levels"):
            index_of(paths, levels, codes)
        return
    index = index_of(paths, levels, codes)
    assert index.levels <= levels
    assert len(set(index.texts())) == len(paths)
    for depth, size in enumerate(index.sizes):
        names = {path[d] for path in paths for d in range(len(path)) if d >= depth}
        assert size <= len(names) + codes
    # Items of one category have prefixes of one length, whatever was cut.
    lengths: dict[tuple[str, ...], set[int]] = {}
    for path, row in zip(paths, index.codes, strict=True):
        lengths.setdefault(tuple(path), set()).add(int((row >= 0).sum()))
    assert all(len(found) == 1 for found in lengths.values())


def test_numbers_of_large_categories_have_digits() -> None:
    index = index_of([["A"]] * 10 + [["B"]], levels=3, codes=4)
    assert {len(row[row >= 0]) for row in index.codes[:10]} == {3}
    assert index.texts()[10] == "<a_1><b_0>"
    # Not enough room behind a path: it is cut.
    deep = index_of([["A", "x"]] * 10 + [["B", "y"]], levels=3, codes=4)
    assert len({tuple(row[:1]) for row in deep.codes[:10].tolist()}) == 1
    assert deep.texts()[10] == "<a_1><b_0><c_0>"
    counts = Semantic().index(make_input(catalogue([["A", "x"]] * 10 + [["B", "y"]]), codes=4))
    assert counts.counts == {"items_without_categories": 0, "category_paths_cut": 10}


def test_another_separator() -> None:
    table = pa.table({"item_id": ["x", "y", "z"], "categories": ["A|B", "A|C", "D"]})
    found = Semantic(separator="|").index(make_input(table)).index
    assert found.texts() == ["<a_0><b_0><c_0>", "<a_0><b_1><c_0>", "<a_1><b_2>"]


@pytest.mark.parametrize("columns", [{}, {"categories": pa.array([None, None], pa.string())}])
@pytest.mark.parametrize("scheme", [Semantic(), Hybrid(prefix="semantic")])
def test_a_catalogue_without_categories_is_refused(columns: dict, scheme) -> None:
    table = pa.table({"item_id": ["x", "y"], **columns})
    with pytest.raises(UserError, match="none of 2 items has any; give the items a column"):
        scheme.index(make_input(table))


def test_ids_in_the_order_of_the_catalogue() -> None:
    index = index_of([["A"], ["B"], ["A"]])
    assert np.array_equal(index.codes, [[0, 0], [1, 0], [0, 1]])
