"""Collision resolution against the same rule written item by item."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.catalog import resolution
from recllm.catalog.resolution import node_ids, reconstruction_errors, resolve_collisions
from recllm.errors import UserError


def naive_resolution(codes, vectors, codebooks):
    """The rule of the module's docstring, one item and one code at a time."""
    levels, k = codebooks.shape[:2]

    def residual(item, path):
        return vectors[item] - sum((codebooks[i][c] for i, c in enumerate(path)), start=0.0)

    def distance(item, path):
        return float((residual(item, path) ** 2).sum())

    resolved = [tuple(map(int, row)) for row in codes]
    own_distance = [distance(item, path) for item, path in enumerate(resolved)]
    nearest_first = sorted(range(len(codes)), key=lambda item: (own_distance[item], item))
    occupied, waiting = set(), []
    for item in nearest_first:
        if resolved[item] in occupied:
            waiting.append(item)
        occupied.add(resolved[item])
    for depth in reversed(range(levels)):
        left_over = []
        for item in waiting:
            path = resolved[item][:depth]
            while len(path) < levels:
                candidates = [
                    (*path, code)
                    for code in range(k)
                    if sum(o[: len(path) + 1] == (*path, code) for o in occupied)
                    < k ** (levels - len(path) - 1)
                ]
                if not candidates:
                    break
                path = min(candidates, key=lambda p: (distance(item, p), p[-1]))
            if len(path) < levels:
                left_over.append(item)
            else:
                resolved[item] = path
                occupied.add(path)
        waiting = left_over
    return np.array(resolved, dtype=np.int32).reshape(codes.shape)


@st.composite
def quantized(draw):
    """Small whole numbers: exact in float32, and full of ties."""
    levels, k = draw(st.sampled_from([(1, 4), (1, 12), (2, 2), (2, 4), (3, 2), (3, 3), (4, 2)]))
    items = draw(st.integers(1, k**levels))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.integers(1, k))  # 1: every item collides
    codes = rng.integers(0, spread, (items, levels)).astype(np.int32)
    vectors = rng.integers(-4, 5, (items, 2)).astype(np.float32)
    codebooks = rng.integers(-3, 4, (levels, k, 2)).astype(np.float32)
    return codes, vectors, codebooks


@settings(max_examples=150)
@given(quantized(), st.sampled_from([1, 3, resolution.BLOCK_ENTRIES]))
def test_resolution_is_the_naive_rule(case, block):
    codes, vectors, codebooks = case
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resolution, "BLOCK_ENTRIES", block)
        found = resolve_collisions(codes, vectors, codebooks)
    assert found.codes.tolist() == naive_resolution(codes, vectors, codebooks).tolist()


@settings(max_examples=100)
@given(quantized())
def test_every_item_has_its_own_sid_and_only_colliding_items_move(case):
    codes, vectors, codebooks = case
    found = resolve_collisions(codes, vectors, codebooks)
    assert len(np.unique(found.codes, axis=0)) == len(codes)
    assert found.codes.dtype == np.int32
    assert found.codes.min() >= 0 and found.codes.max() < codebooks.shape[1]
    changed = (found.codes != codes).any(axis=1)
    _, inverse, sizes = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    assert not changed[sizes[inverse] == 1].any()
    assert changed.sum() == found.moved == len(codes) - len(sizes)
    assert (found.codes[:, :-1] != codes[:, :-1]).any(axis=1).sum() == found.moved_prefix


@pytest.mark.parametrize("shape", [(1, 64), (2, 8), (3, 4), (6, 2)])
def test_a_full_tree_of_identical_vectors(shape):
    levels, k = shape
    items = k**levels
    codebooks = np.random.default_rng(0).normal(size=(levels, k, 3)).astype(np.float32)
    codes = np.zeros((items, levels), dtype=np.int32)
    found = resolve_collisions(codes, np.ones((items, 3), np.float32), codebooks)
    assert len(np.unique(found.codes, axis=0)) == items
    assert found.moved == items - 1
    assert found.moved_prefix == (items - k if levels > 1 else 0)


def test_the_input_is_left_as_it_was_and_the_errors_are_reported():
    codes = np.array([[0, 0], [0, 0], [1, 1]], dtype=np.int32)
    vectors = np.array([[0.0], [3.0], [11.0]], dtype=np.float32)
    codebooks = np.array([[[0.0], [10.0]], [[0.0], [1.0]]], dtype=np.float32)
    found = resolve_collisions(codes, vectors, codebooks)
    assert codes[1].tolist() == [0, 0]
    assert found.codes.tolist() == [[0, 0], [0, 1], [1, 1]]
    assert found.mse_before == pytest.approx(9 / 3)
    assert found.mse_after == pytest.approx(4 / 3)
    assert (found.moved, found.moved_prefix) == (1, 0)


def test_a_full_prefix_sends_its_last_items_to_the_nearest_prefix():
    codebooks = np.array([[[0.0], [10.0], [-4.0]], [[0.0], [1.0], [2.0]]], dtype=np.float32)
    vectors = np.array([[0.0], [0.1], [0.2], [0.3]], dtype=np.float32)
    found = resolve_collisions(np.zeros((4, 2), np.int32), vectors, codebooks)
    assert found.codes.tolist() == [[0, 0], [0, 1], [0, 2], [2, 2]]
    assert found.moved_prefix == 1


def test_too_few_sids_is_the_users_mistake():
    with pytest.raises(UserError, match="found 4 SIDs"):
        resolve_collisions(
            np.zeros((5, 2), np.int32),
            np.zeros((5, 1), np.float32),
            np.zeros((2, 2, 1), np.float32),
        )


def test_a_tree_too_large_for_64_bits():
    codebooks = np.zeros((8, 65536, 1), dtype=np.float32)
    codebooks[:, :, 0] = np.arange(65536)
    codes = np.full((3, 8), 65535, dtype=np.int32)
    found = resolve_collisions(codes, np.zeros((3, 1), np.float32), codebooks)
    assert found.codes[:, -1].tolist() == [65535, 0, 1]
    assert found.codes[:, 0].tolist() == [65535] * 3


@given(st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_node_ids_number_the_distinct_prefixes_in_order(depth, seed):
    codes = np.random.default_rng(seed).integers(0, 3, (30, 3)).astype(np.int32)
    prefixes = [tuple(row[:depth]) for row in codes.tolist()]
    numbers = {prefix: i for i, prefix in enumerate(sorted(set(prefixes)))}
    assert node_ids(codes, depth, 3).tolist() == [numbers[p] for p in prefixes]


def test_reconstruction_errors_do_not_depend_on_the_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 4)).astype(np.float32)
    codebooks = rng.normal(size=(2, 5, 4)).astype(np.float32)
    codes = rng.integers(0, 5, (20, 2)).astype(np.int32)
    expected = ((vectors - codebooks[0][codes[:, 0]] - codebooks[1][codes[:, 1]]) ** 2).sum(axis=1)
    monkeypatch.setattr(resolution, "BLOCK_ROWS", 7)
    np.testing.assert_allclose(
        reconstruction_errors(vectors, codes, codebooks), expected, rtol=1e-5
    )
