"""From items to their paths, against the lists that a trie is built from."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import prefix_nodes

from recllm.catalog.trie import Trie
from recllm.catalog.trie_paths import are_eligible, item_paths
from recllm.errors import UserError

EOS = 1


def check(trie: Trie, paths: list[tuple[int, ...]], items: list[list[int]]) -> None:
    found = item_paths(trie, torch.tensor(items))
    assert found.nodes.shape == found.tokens.shape == (len(items), len(items[0]), trie.depth)
    nodes = prefix_nodes(trie)
    for row, listed in enumerate(items):
        for place, item in enumerate(listed):
            path = () if item < 0 else paths[item]
            padding = [-1] * (trie.depth - len(path))
            assert found.tokens[row, place].tolist() == [*path, *padding]
            on_way = [nodes[path[: depth + 1]] for depth in range(len(path))]
            assert found.nodes[row, place].tolist() == [*on_way, *padding]


def some_items(data: st.DataObject, count: int) -> list[list[int]]:
    row = st.lists(st.integers(-1, count - 1), min_size=3, max_size=3)
    return data.draw(st.lists(row, min_size=1, max_size=4))


@given(st.data())
@settings(max_examples=40)
def test_sids_lead_back_to_their_codes(data: st.DataObject) -> None:
    levels = data.draw(st.integers(1, 4))
    sid = st.lists(st.integers(0, 3), min_size=levels, max_size=levels)
    codes = np.array(data.draw(st.lists(sid, min_size=1, max_size=25)))
    tokens = 10 + np.random.default_rng(0).permutation(4 * levels).reshape(levels, 4)
    paths = [tuple(path) for path in tokens[np.arange(levels), codes].tolist()]
    check(Trie.from_sids(codes, tokens), paths, some_items(data, len(paths)))


@given(st.data())
@settings(max_examples=40)
def test_token_sequences_lead_back_to_themselves_and_eos(data: st.DataObject) -> None:
    token = st.integers(0, 6).filter(lambda token: token != EOS)
    sequences = data.draw(st.lists(st.lists(token, min_size=1, max_size=5), min_size=1))
    trie = Trie.from_token_sequences(sequences, eos=EOS)
    check(trie, [(*tokens, EOS) for tokens in sequences], some_items(data, len(sequences)))


@given(st.data())
@settings(max_examples=40)
def test_eligible_items_are_those_of_the_lists(data: st.DataObject) -> None:
    codes = np.random.default_rng(0).integers(0, 3, (20, 2))
    removed = data.draw(st.lists(st.integers(0, 19), max_size=5))
    trie = Trie.from_sids(codes, np.arange(6).reshape(2, 3)).without(removed)
    lists = st.none() | st.lists(st.lists(st.integers(0, 19)), min_size=2, max_size=2)
    exclude, only = data.draw(lists), data.draw(lists)
    items = torch.arange(-1, 20).expand(2, -1)
    found = are_eligible(trie, items, trie.restrict(exclude, only))
    for row in range(2):
        allowed = set(range(20)) if only is None else set(only[row])
        allowed -= set(removed) | set(() if exclude is None else exclude[row])
        assert found[row].tolist() == [item in allowed for item in range(-1, 20)]


@pytest.mark.parametrize("item", [-2, 3])
def test_items_outside_the_catalogue_are_refused(item: int) -> None:
    trie = Trie.from_sids(np.array([[0], [1], [2]]), np.array([[5, 6, 7]]))
    with pytest.raises(UserError, match=r"items from 0 to 2, or -1 for none, found"):
        item_paths(trie, torch.tensor([[0, item]]))
