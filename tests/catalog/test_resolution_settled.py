"""Collision resolution of items that come later: those that have a SID already keep it."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.catalog import nearer_leaves, resolution
from recllm.catalog.resolution import resolve_collisions
from recllm.errors import UserError


@st.composite
def grown(draw):
    """Settled items with distinct codes, and new ones with any: (codes, vectors, books, settled).

    Small whole numbers: exact in float32, and full of ties.
    """
    levels, k = draw(st.sampled_from([(1, 6), (2, 2), (2, 4), (3, 2), (3, 3)]))
    room = k**levels
    items = draw(st.integers(1, room))
    settled = draw(st.integers(0, items - 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    leaves = rng.choice(room, settled, replace=False)
    old = np.stack(np.unravel_index(leaves, (k,) * levels), axis=1)
    new = rng.integers(0, draw(st.integers(1, k)), (items - settled, levels))
    codes = np.concatenate([old, new]).astype(np.int32)
    vectors = rng.integers(-4, 5, (items, 2)).astype(np.float32)
    codebooks = rng.integers(-3, 4, (levels, k, 2)).astype(np.float32)
    return codes, vectors, codebooks, settled


def errors_of(codes, vectors, codebooks):
    rows = sum(codebooks[level][codes[:, level]] for level in range(len(codebooks)))
    return ((vectors - rows) ** 2).sum(axis=1)


@settings(max_examples=200)
@given(grown(), st.sampled_from([0, resolution.LARGEST_PROBLEM]))
def test_settled_items_stay_and_all_sids_differ(case, largest):
    codes, vectors, codebooks, settled = case
    with mock.patch.object(resolution, "LARGEST_PROBLEM", largest):
        found = resolve_collisions(codes, vectors, codebooks, settled)
    assert np.array_equal(found.codes[:settled], codes[:settled])
    assert len(np.unique(found.codes, axis=0)) == len(codes)
    assert found.codes.min() >= 0 and found.codes.max() < codebooks.shape[1]
    changed = (found.codes != codes).any(axis=1)
    assert changed.sum() == found.moved
    taken = {tuple(row) for row in codes[:settled].tolist()}
    new = [tuple(row) for row in codes.tolist()]
    for item in range(settled, len(codes)):
        alone = new.count(new[item]) == 1
        assert alone <= (not changed[item])  # who shares with nobody stays
        assert (new[item] in taken) <= bool(changed[item])  # who shares with a settled one moves
    before = errors_of(codes, vectors, codebooks)[settled:]
    after = errors_of(found.codes, vectors, codebooks)[settled:]
    assert found.mse_before == pytest.approx(before.mean() / 2)
    assert found.mse_after == pytest.approx(after.mean() / 2)


@settings(max_examples=100)
@given(grown(), st.sampled_from([0, resolution.LARGEST_PROBLEM]))
def test_the_vectors_of_settled_items_are_not_looked_at(case, largest):
    codes, vectors, codebooks, settled = case
    other = vectors.copy()
    other[:settled] = np.nan
    with mock.patch.object(resolution, "LARGEST_PROBLEM", largest):
        one, same = (resolve_collisions(codes, v, codebooks, settled) for v in (vectors, other))
    assert np.array_equal(one.codes, same.codes)
    assert (one.mse_before, one.mse_after) == (same.mse_before, same.mse_after)


@settings(max_examples=100)
@given(grown())
def test_under_a_prefix_new_items_are_placed_as_if_settled_leaves_were_not_there(case):
    """A settled item is one that shares with nobody, for all others: the reference removes those
    that share with it from its leaf by hand, and lets all be resolved together.
    """
    codes, vectors, codebooks, settled = case
    levels, k = codebooks.shape[:2]
    # One level: the leaves are the root's children, and settled ones are only fewer leaves.
    if levels > 1:
        codes, codebooks = codes[:, -1:], codebooks[-1:]
        _, first = np.unique(codes[:settled], axis=0, return_index=True)
        room = k - len(first)
        new = np.arange(settled, len(codes))[:room]
        rows = np.concatenate([np.sort(first), new]).astype(int)
        codes, vectors, settled = codes[rows], vectors[rows], len(first)
        if settled == len(codes):
            return
    with mock.patch.object(nearer_leaves, "LARGEST_TABLE", 0):
        found = resolve_collisions(codes, vectors, codebooks, settled)
    shared = {c for c in codes[:, 0].tolist() if codes[:, 0].tolist().count(c) > 1}
    movers = [i for i in range(settled, len(codes)) if codes[i, 0] in shared]
    stays = [i for i in range(len(codes)) if i not in movers]
    free = [c for c in range(k) if c not in codes[stays, 0].tolist()]
    errors = ((vectors[movers, None] - codebooks[0][free]) ** 2).sum(axis=2)
    assert sum_of_best(errors) == pytest.approx(
        errors_of(found.codes[movers], vectors[movers], codebooks).sum() if movers else 0.0
    )


def sum_of_best(costs):
    """The least sum of one entry a row, no column twice: by trying all."""
    if not len(costs):
        return 0.0
    best: dict[frozenset, float] = {frozenset(): 0.0}
    for row in costs.tolist():
        step: dict[frozenset, float] = {}
        for used, cost in best.items():
            for column, more in enumerate(row):
                if column not in used:
                    key = used | {column}
                    step[key] = min(step.get(key, np.inf), cost + more)
        best = step
    return min(best.values())


def test_a_new_item_on_a_settled_leaf_moves_even_if_it_is_nearer():
    codebooks = np.array([[[0.0], [10.0]], [[0.0], [1.0]]], dtype=np.float32)
    codes = np.array([[0, 0], [0, 0]], dtype=np.int32)
    vectors = np.array([[0.4], [0.0]], dtype=np.float32)
    found = resolve_collisions(codes, vectors, codebooks, settled=1)
    assert found.codes.tolist() == [[0, 0], [0, 1]]
    assert (found.moved, found.moved_prefix) == (1, 0)
    assert found.mse_before == 0 and found.mse_after == pytest.approx(1)


def test_under_a_full_settled_prefix_new_items_go_to_the_next():
    codebooks = np.array([[[0.0], [10.0], [-4.0]], [[0.0], [1.0], [2.0]]], dtype=np.float32)
    codes = np.array([[0, 0], [0, 1], [0, 2], [0, 1]], dtype=np.int32)
    vectors = np.array([[0.0], [1.0], [2.0], [1.0]], dtype=np.float32)
    found = resolve_collisions(codes, vectors, codebooks, settled=3)
    assert found.codes.tolist() == [[0, 0], [0, 1], [0, 2], [2, 2]]
    assert (found.moved, found.moved_prefix) == (1, 1)


def test_no_room_beside_settled_items():
    codes = np.array([[0], [1], [1]], dtype=np.int32)
    with pytest.raises(UserError, match="found 2 SIDs"):
        resolve_collisions(codes, np.zeros((3, 1), np.float32), np.zeros((1, 2, 1), np.float32), 2)
