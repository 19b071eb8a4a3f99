"""Collision resolution against the same rules written item by item."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.catalog import nearer_leaves, resolution, sid_tree
from recllm.catalog.resolution import resolve_collisions
from recllm.catalog.sid_tree import node_ids, reconstruction_errors
from recllm.errors import UserError


class Naive:
    """The rules of the module's docstring, one item and one code at a time."""

    def __init__(self, codes, vectors, codebooks):
        self.given = [tuple(map(int, row)) for row in codes]
        self.vectors, self.codebooks = vectors, codebooks
        self.levels, self.k = codebooks.shape[:2]
        self.shared = [self.given.count(path) > 1 for path in self.given]
        self.nearest_first = sorted(
            range(len(codes)), key=lambda item: (self.distance(item, self.given[item]), item)
        )

    def distance(self, item, path):
        rows = (self.codebooks[level][code] for level, code in enumerate(path))
        return float(((self.vectors[item] - sum(rows, start=0.0)) ** 2).sum())

    def movers(self, prefix):
        return [i for i, path in enumerate(self.given) if self.shared[i] and path[:-1] == prefix]

    def leaves(self, prefix):
        """Those that no item keeps which does not share."""
        kept = {path for path, shared in zip(self.given, self.shared, strict=True) if not shared}
        return [(*prefix, code) for code in range(self.k) if (*prefix, code) not in kept]

    def least_cost(self, prefix):
        """Of all ways to give as many movers a leaf as there are leaves: by trying them all."""
        movers, leaves = self.movers(prefix), self.leaves(prefix)

        @cache
        def best(position, free, to_place):
            if to_place > len(movers) - position:
                return math.inf
            if not to_place:
                return 0.0
            item = movers[position]
            without = best(position + 1, free, to_place)
            return min(
                [without]
                + [
                    self.distance(item, leaf) - self.distance(item, prefix)
                    + best(position + 1, free - {leaf}, to_place - 1)
                    for leaf in free
                ]
            )  # fmt: skip

        return best(0, frozenset(leaves), min(len(movers), len(leaves)))

    def move_on(self, resolved, waiting, depths):
        """The items that wait, in order, to the nearest place under fewer and fewer own codes."""
        occupied = {path for item, path in enumerate(resolved) if item not in waiting}
        for depth in depths:
            left_over = []
            for item in waiting:
                path = resolved[item][:depth]
                while len(path) < self.levels:
                    candidates = [
                        (*path, code)
                        for code in range(self.k)
                        if sum(o[: len(path) + 1] == (*path, code) for o in occupied)
                        < self.k ** (self.levels - len(path) - 1)
                    ]
                    if not candidates:
                        break
                    path = min(candidates, key=lambda p: (self.distance(item, p), p[-1]))
                if len(path) < self.levels:
                    left_over.append(item)
                else:
                    resolved[item] = path
                    occupied.add(path)
            waiting = left_over
        return resolved

    def take_nearer(self, resolved, siblings, most):
        """The nearest free leaf under one of the prefixes nearest to each item that moved."""
        if self.levels < 2:
            return resolved
        lost = {
            item: self.distance(item, path) - self.distance(item, self.given[item])
            for item, path in enumerate(resolved)
            if path != self.given[item]
        }
        for item in sorted(lost, key=lambda item: (-lost[item], item))[:most]:
            parent = resolved[item][:-2]
            prefixes = sorted(
                ((*parent, code) for code in range(self.k)),
                key=lambda prefix: (self.distance(item, prefix), prefix),
            )
            leaves = [(*p, code) for p in sorted(prefixes[:siblings]) for code in range(self.k)]
            free = [leaf for leaf in leaves if leaf not in resolved]
            best = min(free, key=lambda leaf: (self.distance(item, leaf), leaf), default=None)
            if best and self.distance(item, best) < self.distance(item, resolved[item]):
                resolved[item] = best
        return resolved


@st.composite
def quantized(draw):
    """Small whole numbers: exact in float32, and full of ties."""
    levels, k = draw(st.sampled_from([(1, 4), (1, 6), (2, 2), (2, 4), (3, 2), (3, 3), (4, 2)]))
    items = draw(st.integers(1, k**levels))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.integers(1, k))  # 1: every item collides
    codes = rng.integers(0, spread, (items, levels)).astype(np.int32)
    vectors = rng.integers(-4, 5, (items, 2)).astype(np.float32)
    codebooks = rng.integers(-3, 4, (levels, k, 2)).astype(np.float32)
    return codes, vectors, codebooks


def resolve_without_siblings(case, **limits):
    """Resolution without its last step, with other limits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearer_leaves, "LARGEST_TABLE", 0)
        for name, limit in limits.items():
            patch.setattr(resolution, name, limit)
        return resolve_collisions(*case)


def paths(codes):
    return [tuple(row) for row in codes.tolist()]


@settings(max_examples=150)
@given(quantized())
def test_under_each_prefix_no_assignment_costs_less(case):
    naive, found = Naive(*case), paths(resolve_without_siblings(case).codes)
    for prefix in {path[:-1] for path in naive.given}:
        stayed = [item for item in naive.movers(prefix) if found[item][:-1] == prefix]
        cost = sum(naive.distance(i, found[i]) - naive.distance(i, prefix) for i in stayed)
        assert len(stayed) == min(len(naive.movers(prefix)), len(naive.leaves(prefix)))
        assert cost == naive.least_cost(prefix)


@settings(max_examples=150)
@given(quantized(), st.sampled_from([1, 3, resolution.BLOCK_ENTRIES]))
def test_items_without_room_move_on_by_the_naive_rule(case, block):
    found = paths(resolve_without_siblings(case, BLOCK_ENTRIES=block).codes)
    naive = Naive(*case)
    left = [i for i in naive.nearest_first if found[i][:-1] != naive.given[i][:-1]]
    before = [naive.given[i] if i in left else path for i, path in enumerate(found)]
    assert naive.move_on(before, left, reversed(range(naive.levels - 1))) == found


@settings(max_examples=150)
@given(quantized(), st.sampled_from([1, 3, resolution.BLOCK_ENTRIES]))
def test_problems_too_large_are_resolved_by_nearness(case, block):
    limits = {"BLOCK_ENTRIES": block, "LARGEST_PROBLEM": 0}
    found = paths(resolve_without_siblings(case, **limits).codes)
    naive, keepers = Naive(*case), {}
    for item in naive.nearest_first:
        keepers.setdefault(naive.given[item], item)
    losers = [item for item in naive.nearest_first if item not in keepers.values()]
    assert naive.move_on(naive.given, losers, reversed(range(naive.levels))) == found


@settings(max_examples=150)
@given(quantized(), st.sampled_from([1, 2, 16]), st.sampled_from([1, 100]))
def test_items_that_moved_take_nearer_leaves_under_siblings_by_the_naive_rule(case, siblings, most):
    start = resolve_without_siblings(case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearer_leaves, "SIBLINGS", siblings)
        patch.setattr(nearer_leaves, "MOST_ITEMS", most)
        found = resolve_collisions(*case)
    assert paths(found.codes) == Naive(*case).take_nearer(paths(start.codes), siblings, most)
    assert found.mse_after <= start.mse_after


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
    assert changed.sum() == found.moved >= len(codes) - len(sizes)
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


def test_the_item_that_would_lose_most_by_moving_stays():
    codebooks = np.array([[[0.0, 0.0], [2.0, 0.0]]], dtype=np.float32)
    vectors = np.array([[0.1, 0.0], [-0.5, 0.0]], dtype=np.float32)
    found = resolve_collisions(np.zeros((2, 1), np.int32), vectors, codebooks)
    assert found.codes.tolist() == [[1], [0]]


def test_a_full_prefix_sends_the_item_that_its_leaves_help_least_to_the_nearest_prefix():
    codebooks = np.array([[[0.0], [10.0], [-4.0]], [[0.25], [1.0], [2.0]]], dtype=np.float32)
    vectors = np.array([[0.3], [0.4], [1.2], [2.2]], dtype=np.float32)
    found = resolve_collisions(np.zeros((4, 2), np.int32), vectors, codebooks)
    assert found.codes.tolist() == [[2, 2], [0, 0], [0, 1], [0, 2]]
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
    assert sorted(found.codes[:, -1].tolist()) == [0, 1, 2]
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
    monkeypatch.setattr(sid_tree, "BLOCK_ROWS", 7)
    np.testing.assert_allclose(
        reconstruction_errors(vectors, codes, codebooks), expected, rtol=1e-5
    )
