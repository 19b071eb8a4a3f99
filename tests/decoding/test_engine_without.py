"""Ranking with items removed from a trie, against a trie built without them."""

from functools import cache
from typing import Any

import numpy as np
from beam_reference import assert_same_ranking, make_model
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.catalog.trie import Trie
from recllm.decoding.engine import Ranking, TreeDecoder

EOS = 3
PROMPTS = [[5, 6, 7], [9], [11, 12, 13, 14, 15, 16]]
cached_model = cache(make_model)


def assert_same(found: Ranking, expected: Ranking, left: list[int]) -> None:
    """The rebuilt trie numbers the items that are left from 0."""
    for row in range(len(PROMPTS)):
        items = [left[item] for item in expected.items[row].tolist() if item >= 0]
        assert found.items[row, len(items) :].tolist() == [-1] * (
            len(found.items[row]) - len(items)
        )
        scores = expected.scores[row, : len(items)]
        assert_same_ranking(
            (found.items[row, : len(items)], found.scores[row, : len(items)]),
            (items, scores.tolist()),
        )


def decode(model: Any, trie: Trie, beams: int, scoring: Any, **subset: Any) -> Ranking:
    return TreeDecoder(model, trie, beams=beams, scoring=scoring).decode(PROMPTS, **subset)


def removed(data: st.DataObject, items: int) -> list[int]:
    """Some of the items, not all."""
    kept = data.draw(st.integers(0, items - 1))
    gone = data.draw(st.lists(st.integers(0, items - 1), max_size=items))
    return [item for item in gone if item != kept]


def subsets(data: st.DataObject, left: list[int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What to exclude or to allow, of what is left: in its old numbers, and in its new ones."""
    one = st.lists(st.integers(0, len(left) - 1), max_size=len(left))
    new, old = {}, {}
    for name in ("exclude", "only"):
        if data.draw(st.booleans()):
            lists = data.draw(st.lists(one, min_size=len(PROMPTS), max_size=len(PROMPTS)))
            new[name] = lists
            old[name] = [[left[item] for item in items] for items in lists]
    return old, new


@given(st.data())
@settings(max_examples=30, derandomize=True)
def test_sids_rank_as_if_built_anew(data: st.DataObject) -> None:
    levels = data.draw(st.integers(1, 3))
    sid = st.lists(st.integers(0, 3), min_size=levels, max_size=levels)
    codes = np.array(data.draw(st.lists(sid, min_size=2, max_size=30)))
    token_ids = 100 + np.arange(levels * 4).reshape(levels, 4)
    gone = removed(data, len(codes))
    left = sorted(set(range(len(codes))) - set(gone))
    half = len(gone) // 2
    fewer = Trie.from_sids(codes, token_ids).without(gone[:half]).without(gone[half:])
    beams = data.draw(st.integers(1, 9))
    scoring = data.draw(st.sampled_from(["vocab", "level", "trie"]))
    old, new = subsets(data, left)
    model = cached_model("qwen3")
    found = decode(model, fewer, beams, scoring, **old)
    assert_same(found, decode(model, Trie.from_sids(codes[left], token_ids), beams, scoring, **new),
                left)  # fmt: skip


@given(st.data())
@settings(max_examples=30, derandomize=True)
def test_token_sequences_rank_as_if_built_anew(data: st.DataObject) -> None:
    tokens = st.lists(st.integers(0, 8).filter(lambda t: t != EOS), min_size=1, max_size=5)
    sequences = data.draw(st.lists(tokens, min_size=2, max_size=25))
    gone = removed(data, len(sequences))
    left = sorted(set(range(len(sequences))) - set(gone))
    fewer = Trie.from_token_sequences(sequences, EOS).without(gone)
    rebuilt = Trie.from_token_sequences([sequences[item] for item in left], EOS)
    beams = data.draw(st.integers(1, 7))
    scoring = data.draw(st.sampled_from(["vocab", "trie"]))
    old, new = subsets(data, left)
    model = cached_model("llama", tied=True)
    found = decode(model, fewer, beams, scoring, **old)
    assert_same(found, decode(model, rebuilt, beams, scoring, **new), left)


def test_with_everything_removed_nothing_is_returned() -> None:
    trie = Trie.from_token_sequences([[5, 6], [7]], EOS).without([0, 1])
    found = decode(cached_model("qwen3"), trie, 3, "vocab")
    assert (found.items == -1).all() and np.isneginf(found.scores).all()
