"""A trie without some of its items: what it may return, what it shares, what it costs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tries import prefix_nodes

from recllm.catalog.trie import Trie
from recllm.errors import UserError

EOS = 1


@st.composite
def tries(draw: st.DrawFn) -> tuple[Trie, list[tuple[int, ...]]]:
    """A trie with the items' paths: SIDs of one length or more, or token sequences."""
    if draw(st.booleans()):
        token = st.integers(2, 6)
        found = draw(st.lists(st.lists(token, min_size=1, max_size=4), min_size=1, max_size=20))
        return Trie.from_token_sequences(found, EOS), [(*one, EOS) for one in found]
    levels, codes = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    sid = st.lists(st.integers(0, codes - 1), min_size=levels, max_size=levels)
    sids = draw(st.lists(sid, min_size=1, max_size=20))
    token_ids = 10 + np.arange(levels * codes).reshape(levels, codes)
    paths = [tuple(int(token_ids[level, c]) for level, c in enumerate(sid)) for sid in sids]
    return Trie.from_sids(np.array(sids), token_ids), paths


def some_items(data: st.DataObject, items: int) -> list[int]:
    return data.draw(st.lists(st.integers(0, items - 1), max_size=items))


@given(tries(), st.data())
@settings(max_examples=150)
def test_removed_items_are_not_returned_whatever_is_asked_for(
    given_trie: tuple[Trie, list[tuple[int, ...]]], data: st.DataObject
) -> None:
    trie, paths = given_trie
    gone = [some_items(data, len(paths)) for _ in range(data.draw(st.integers(1, 3)))]
    fewer = trie
    for items in gone:
        fewer = fewer.without(items)
    left = set(range(len(paths))) - {item for items in gone for item in items}
    lists = [some_items(data, len(paths)) for _ in range(2)]
    nodes = prefix_nodes(trie)
    leaves = sorted(set(paths))
    every = torch.tensor([list(nodes.values())] * 2)
    at_leaves = torch.tensor([[nodes[path] for path in leaves]] * 2)
    for exclude, only in ((None, None), (lists, None), (None, lists), (lists, lists[::-1])):
        subset = fewer.restrict(exclude, only)
        eligible = fewer.eligible(every, subset)
        items, exists = fewer.leaf_items(at_leaves, subset)
        for row in range(2):
            allowed = left if only is None else left & set(only[row])
            allowed = allowed if exclude is None else allowed - set(exclude[row])
            below = [any(paths[i][: len(p)] == p for i in allowed) for p in nodes]
            assert eligible[row].tolist() == below
            for place, path in enumerate(leaves):
                found = items[row, place][exists[row, place]].tolist()
                assert found == sorted(i for i in allowed if paths[i] == path)


@given(tries(), st.data())
@settings(max_examples=50)
def test_everything_is_shared_and_the_trie_of_before_is_as_it_was(
    given_trie: tuple[Trie, list[tuple[int, ...]]], data: st.DataObject
) -> None:
    trie, paths = given_trie
    gone = some_items(data, len(paths))
    fewer = trie.without(gone).without([])
    assert trie.removed is None and fewer.removed is not None
    assert sorted(trie.order[fewer.removed].tolist()) == sorted(set(gone))
    for name in ("symbol", "child_start", "first_item", "item_end", "order"):
        assert getattr(fewer, name) is getattr(trie, name)
    assert fewer.position is trie.position
    assert fewer.to("cpu") is fewer


def test_moving_keeps_what_was_removed() -> None:
    trie = Trie.from_token_sequences([[5, 6], [5], [7]], eos=EOS).without([1])
    moved = trie.to("meta")
    assert moved.removed is not None and moved.removed.device.type == "meta"
    assert moved.nbytes == trie.nbytes


def test_items_outside_the_catalogue_are_refused() -> None:
    trie = Trie.from_sids(np.arange(3)[:, None], np.arange(3)[None])
    with pytest.raises(UserError, match="items from 0 to 2"):
        trie.without([3])
