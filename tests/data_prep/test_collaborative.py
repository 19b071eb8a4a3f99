"""Collaborative and hybrid indexing: clusters of what occurs together."""

import time

import numpy as np
import pytest
from catalogues import item_table, make_input
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.metrics import adjusted_rand_score

from recllm.catalog.sids import SidIndex
from recllm.data_prep.quantizers._spectral import _embed, spectral_clusters, spread
from recllm.data_prep.quantizers.collaborative import Collaborative
from recllm.data_prep.quantizers.hybrid import Hybrid


def planted(sizes: list[int], seed: int) -> tuple[csr_array, np.ndarray]:
    """A graph of dense blocks with a few weak edges between them, and the block of each node."""
    rng = np.random.default_rng(seed)
    block = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    inside = block[:, None] == block[None, :]
    weights = np.where(inside, rng.uniform(1, 2, inside.shape), 0)
    weights += np.where(~inside & (rng.random(inside.shape) < 0.05), 0.1, 0)
    weights = np.triu(weights, 1)
    return csr_array(weights + weights.T), block


@settings(max_examples=25)
@given(st.lists(st.integers(6, 12), min_size=2, max_size=5), st.integers(0, 1000))
def test_planted_clusters_are_found(sizes: list[int], seed: int) -> None:
    graph, block = planted(sizes, seed)
    found = spectral_clusters(graph, len(sizes), len(block), seed)
    assert adjusted_rand_score(block, found) == 1


@settings(max_examples=25)
@given(st.lists(st.integers(6, 12), min_size=2, max_size=5), st.integers(0, 1000))
def test_the_embedding_is_that_of_the_exact_eigenvectors(sizes: list[int], seed: int) -> None:
    graph, _ = planted(sizes, seed)
    dense = graph.toarray()
    degrees = dense.sum(axis=1)
    scale = 1 / np.sqrt(degrees + degrees.mean())
    vectors = np.linalg.eigh(scale[:, None] * dense * scale)[1][:, -len(sizes) :]
    rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = _embed(graph, len(sizes), seed)
    # Eigenvectors are unique but for rotations, their inner products are not changed by them.
    # Those found are approximate, the more so the closer the next eigenvalue is.
    np.testing.assert_allclose(found @ found.T, rows @ rows.T, atol=1e-2)


def naive_spread(labels: list[int], distances: list[list[float]], largest: int) -> list[int]:
    """What `spread` promises, member by member."""
    result: list[int | None] = [None] * len(labels)
    clusters = range(len(distances[0]))
    for cluster in clusters:
        members = sorted(
            (i for i, label in enumerate(labels) if label == cluster),
            key=lambda i: (distances[i][labels[i]], i),
        )
        for member in members[:largest]:
            result[member] = cluster

    def room(cluster: int) -> bool:
        return sum(label == cluster for label in result) < largest

    opened = [cluster for cluster in clusters if room(cluster)]
    waiting = [i for i, label in enumerate(result) if label is None]
    for member in sorted(waiting, key=lambda i: (min(distances[i][c] for c in opened), i)):
        result[member] = min(filter(room, clusters), key=lambda c: (distances[member][c], c))
    return [label for label in result if label is not None]


@given(st.data())
def test_clusters_that_are_too_large_pass_members_on(data: st.DataObject) -> None:
    clusters, largest = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    members = data.draw(st.integers(1, clusters * largest))
    row = st.lists(st.integers(0, 6).map(float), min_size=clusters, max_size=clusters)
    distances = data.draw(st.lists(row, min_size=members, max_size=members))
    labels = [one.index(min(one)) for one in distances]
    found = spread(np.array(labels), np.array(distances), largest)
    assert np.bincount(found).max() <= largest
    assert found.tolist() == naive_spread(labels, distances, largest)


def test_items_that_occur_together_share_prefixes() -> None:
    groups = [list(range(start, 27, 9)) for start in range(9)]  # items 0, 9, 18; 1, 10, 19; …
    wholes = [groups[g] + groups[g + 1] + groups[g + 2] for g in (0, 3, 6)]
    sequences = [group * 4 for group in groups] + wholes * 3
    codes = Collaborative().index(make_input(27, sequences, levels=3, codes=9)).index.prefixes()
    first = {frozenset(np.flatnonzero(codes[:, 0] == code).tolist()) for code in range(3)}
    assert first == set(map(frozenset, wholes))
    prefixes = [tuple(row) for row in codes[:, :2].tolist()]
    second = {
        frozenset(i for i, prefix in enumerate(prefixes) if prefix == p) for p in set(prefixes)
    }
    assert second == {frozenset(group) for group in groups}


@pytest.mark.parametrize("sequences", [[[3]], [[4, 4, 4]], [[], []]])
def test_a_log_that_says_nothing_still_gives_sids(sequences: list[list[int]]) -> None:
    found = Collaborative().index(make_input(20, sequences, levels=2, codes=5))
    assert len(set(found.index.texts())) == 20
    assert found.counts == {"items_without_neighbours": 20}


def test_a_full_tree_is_filled_to_the_last_place() -> None:
    """One dense cluster, the rest alone: whatever k-means finds, every place is needed."""
    sequences = [list(range(20)), list(range(10, 30))]
    found = Collaborative(window=30).index(make_input(64, sequences, levels=3, codes=4))
    assert sorted(map(tuple, found.index.prefixes().tolist())) == [
        (a, b, c) for a in range(4) for b in range(4) for c in range(4)
    ]


def test_hybrid_keeps_the_prefix_and_gives_each_item_a_token() -> None:
    given_items = make_input(item_table(60), [[i, i + 1, i + 2] for i in range(58)])
    plain, own = Collaborative().index(given_items).index, Hybrid().index(given_items).index
    assert isinstance(plain, SidIndex) and isinstance(own, SidIndex)
    assert own.prefixes()[:, :-1].tolist() == plain.prefixes()[:, :-1].tolist()
    assert own.prefixes()[:, -1].tolist() == list(range(60))
    assert own.sizes == (*plain.sizes[:-1], 60)


@pytest.mark.slow
def test_a_large_graph_takes_seconds() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 12_000, (22_000, 1))
    sequences = ((first + rng.integers(0, 40, (22_000, 8))) % 12_000).tolist()
    start = time.perf_counter()
    found = Collaborative().index(make_input(12_000, sequences, codes=256))
    assert time.perf_counter() - start < 60
    assert len(set(found.index.texts())) == 12_000
