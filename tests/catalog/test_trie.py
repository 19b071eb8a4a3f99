"""The flat trie against a trie of dictionaries."""

import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import prefix_nodes

from recllm.catalog.trie import Trie
from recllm.errors import UserError

EOS = 1
Path = tuple[int, ...]


def naive_trie(paths: list[Path]) -> dict[Path, dict[int, list[int]]]:
    """Prefix -> next token -> the items below it."""
    trie: dict[Path, dict[int, list[int]]] = {}
    for item, path in enumerate(paths):
        for depth, token in enumerate(path):
            trie.setdefault(path[:depth], {}).setdefault(token, []).append(item)
    return trie


def check_against_naive(trie: Trie, paths: list[Path], lists: list[list[int]]) -> None:
    naive = naive_trie(paths)
    nodes = prefix_nodes(trie)
    assert set(nodes) == set(naive) | set(paths)
    assert len(nodes) == trie.level_start[-1]
    every = torch.tensor([list(nodes.values())] * len(lists))
    ended = dict(zip(nodes, trie.is_leaf(every[0]).tolist(), strict=True))
    assert {prefix for prefix, is_end in ended.items() if is_end} == set(paths)
    below = {prefix: {i for items in naive[prefix].values() for i in items} for prefix in naive}
    below |= {path: {i for i, other in enumerate(paths) if other == path} for path in paths}
    start, end = trie.item_range(every[0])
    for prefix, first, last in zip(nodes, start.tolist(), end.tolist(), strict=True):
        assert set(trie.order[first:last].tolist()) == below[prefix]
    for exclude, only in ((lists, None), (None, lists), (lists, lists[::-1]), (None, None)):
        subset = trie.restrict(exclude, only)
        eligible = trie.eligible(every, subset)
        leaves = torch.tensor([[nodes[path] for path in sorted(set(paths))]] * len(lists))
        items, exists = trie.leaf_items(leaves, subset)
        for row in range(len(lists)):
            allowed = set(range(len(paths))) if only is None else set(only[row])
            allowed -= set() if exclude is None else set(exclude[row])
            expected = [bool(below[prefix] & allowed) for prefix in nodes]
            assert eligible[row].tolist() == expected
            for leaf, path in enumerate(sorted(set(paths))):
                found = items[row, leaf][exists[row, leaf]].tolist()
                assert found == sorted(below[path] & allowed)


def random_lists(data: st.DataObject, items: int) -> list[list[int]]:
    one = st.lists(st.integers(0, items - 1), max_size=items)
    return data.draw(st.lists(one, min_size=1, max_size=4))


@given(st.data())
@settings(max_examples=60)
def test_sids_match_a_dictionary_trie(data: st.DataObject) -> None:
    levels, codes = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    path = st.lists(st.integers(0, codes - 1), min_size=levels, max_size=levels)
    sids = data.draw(st.lists(path, min_size=1, max_size=25))
    token_ids = 10 + np.arange(levels * codes).reshape(levels, codes)
    trie = Trie.from_sids(np.array(sids), token_ids)
    paths = [tuple(int(token_ids[level, c]) for level, c in enumerate(sid)) for sid in sids]
    assert (len(trie), trie.depth, trie.eos) == (len(sids), levels, None)
    assert trie.max_leaf_items == max(sids.count(sid) for sid in sids)
    check_against_naive(trie, paths, random_lists(data, len(sids)))


@given(st.data())
@settings(max_examples=60)
def test_token_sequences_match_a_dictionary_trie(data: st.DataObject) -> None:
    token = st.integers(0, 6).filter(lambda token: token != EOS)
    sequence = st.lists(token, min_size=1, max_size=5)
    sequences = data.draw(st.lists(sequence, min_size=1, max_size=20))
    trie = Trie.from_token_sequences(sequences, eos=EOS)
    paths = [(*sequence, EOS) for sequence in sequences]
    assert trie.depth == max(map(len, paths))
    for depth, alphabet in enumerate(trie.alphabets):
        assert alphabet.tolist() == sorted({p[depth] for p in paths if len(p) > depth})
    check_against_naive(trie, paths, random_lists(data, len(sequences)))


@given(st.data())
@settings(max_examples=60)
def test_sids_of_different_lengths_match_a_dictionary_trie(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    length = st.integers(1, len(sizes))
    one = length.flatmap(lambda n: st.tuples(*(st.integers(0, size - 1) for size in sizes[:n])))
    sids = data.draw(st.lists(one, min_size=1, max_size=25))
    codes = np.full((len(sids), len(sizes)), -1)
    for row, sid in zip(codes, sids, strict=True):
        row[: len(sid)] = sid
    token_ids = np.split(10 + np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    trie = Trie.from_sids(codes, token_ids, eos=EOS)
    paths = [
        (*(int(tokens[code]) for tokens, code in zip(token_ids, sid, strict=False)), EOS)
        for sid in sids
    ]
    assert trie.eos == EOS and trie.depth == max(map(len, paths))
    check_against_naive(trie, paths, random_lists(data, len(sids)))


def test_levels_may_have_different_numbers_of_codes() -> None:
    token_ids = [np.array([7, 8]), np.array([1, 2, 3, 4, 5])]
    trie = Trie.from_sids(np.array([[1, 4], [0, 3]]), token_ids)
    assert [alphabet.tolist() for alphabet in trie.alphabets] == [[7, 8], [1, 2, 3, 4, 5]]
    assert trie.order.tolist() == [1, 0]


def test_symbols_are_codes_of_the_whole_alphabet() -> None:
    token_ids = np.array([[9, 3, 7, 5]])
    trie = Trie.from_sids(np.array([[3], [1]]), token_ids)
    assert trie.alphabets[0].tolist() == [9, 3, 7, 5]
    assert trie.symbols(torch.tensor([1, 2])).tolist() == [1, 3]
    assert trie.order.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("codes", "dtype"), [(256, torch.uint8), (257, torch.int16), (40_000, torch.int32)]
)
def test_symbols_take_the_smallest_type(codes: int, dtype: torch.dtype) -> None:
    sids = np.array([[codes - 1, 0], [0, codes - 1], [0, 2]])
    trie = Trie.from_sids(sids, np.arange(2 * codes).reshape(2, codes))
    assert trie.symbol.dtype == dtype
    children, exists = trie.children(torch.tensor([0, 1]))
    assert trie.child_symbols(children)[exists].tolist() == [0, codes - 1, 2, codes - 1]


def test_rows_that_share_a_list_share_its_keys() -> None:
    trie = Trie.from_sids(np.arange(6)[:, None], np.arange(6)[None])
    stock = [1, 4]
    shared = trie.restrict(None, [stock, stock, [2]])
    assert shared is not None and shared.keys.tolist() == [1, 4, 8]
    nodes = torch.arange(1, 7).expand(3, -1)
    rows = trie.eligible(nodes, shared).int().tolist()
    assert rows == [[0, 1, 0, 0, 1, 0]] * 2 + [[0, 0, 1, 0, 0, 0]]
    # Rows of an array are new objects each time, whose identities may repeat.
    table = trie.restrict(None, np.arange(6).reshape(6, 1))  # pyright: ignore[reportArgumentType]
    assert (
        trie.eligible(torch.arange(1, 7).expand(6, -1), table).int().tolist() == np.eye(6).tolist()
    )


def test_moving_keeps_everything() -> None:
    trie = Trie.from_token_sequences([[5, 6], [5], [7]], eos=EOS)
    moved = trie.to("meta")
    assert moved.device.type == "meta" and all(a.device.type == "meta" for a in moved.alphabets)
    assert moved.level_start == trie.level_start and moved.nbytes == trie.nbytes


def test_a_large_trie_is_small_and_built_at_once() -> None:
    numbers = np.random.default_rng(0).choice(256**3, size=300_000, replace=False)
    codes = np.stack([numbers // 256**2, numbers // 256 % 256, numbers % 256], axis=1)
    start = time.perf_counter()
    trie = Trie.from_sids(codes, np.arange(768).reshape(3, 256))
    # A loop over items would take seconds; the exact figure is the benchmark's business.
    assert time.perf_counter() - start < 1.0
    assert trie.nbytes < 12 * len(trie)
    assert trie.order.tolist() == np.argsort(numbers, kind="stable").tolist()


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((0, 2), int), "shape"),
        (np.array([[0, 4]]), "0 to 3"),
        (np.array([[-1, 0]]), "0 to 3"),
        (np.zeros((2, 3), int), "levels"),
    ],
)
def test_sids_that_do_not_fit_are_refused(codes: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Trie.from_sids(codes, np.arange(8).reshape(2, 4))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((0, 2), int), "shape"),
        (np.array([[0, 4]]), "0 to 3 at level 2"),
        (np.array([[0, -2]]), "0 to 3"),
        (np.array([[0, 1], [-1, 0]]), r"\[-1, 0\] for item 1"),
        (np.array([[-1, -1]]), "for item 0"),
    ],
)
def test_sids_of_different_lengths_that_do_not_fit(codes: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Trie.from_sids(codes, np.arange(8).reshape(2, 4), eos=9)


@pytest.mark.parametrize(
    ("sequences", "message"),
    [([], "at least one token"), ([[4], []], r"\[1\]"), ([[4], [5, EOS, 6]], "in item 1")],
)
def test_sequences_that_do_not_fit_are_refused(sequences: list[list[int]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Trie.from_token_sequences(sequences, eos=EOS)


def test_subsets_that_do_not_fit_are_refused() -> None:
    trie = Trie.from_sids(np.arange(3)[:, None], np.arange(3)[None])
    for items in ([3], [-1]):
        with pytest.raises(UserError, match="items from 0 to 2"):
            trie.restrict([items], None)
    with pytest.raises(UserError, match=r"\[1, 2\]"):
        trie.restrict([[0], [0]], [[1]])
