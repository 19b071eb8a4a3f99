"""The encoders `lsa` and `cooccurrence`, and the linear algebra that the encoders share."""

import math

import numpy as np
import pytest
from encoder_inputs import TITLES, make_input, make_items, many_items
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from recllm.config.plugins import ENCODERS
from recllm.data_prep.encoders._vectors import principal_axes, truncated_svd, unit_rows
from recllm.data_prep.encoders.cooccurrence import Cooccurrence, _ppmi
from recllm.data_prep.encoders.lsa import LatentSemanticAnalysis

NAMES = ["lsa", "cooccurrence", "fusion"]


@pytest.mark.parametrize("name", ["lsa", "cooccurrence"])
def test_rows_have_the_asked_width_and_length_one(name):
    vectors = ENCODERS.load(name)().encode(many_items()).vectors
    assert vectors.shape == (300, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("titles", [[], ["one"], ["one", ""], ["", ""], ["a b", "a b"]])
def test_tiny_catalogues_are_padded_with_zeros(name, titles):
    vectors = ENCODERS.load(name)().encode(make_input(titles, [], dimensions=8)).vectors
    assert vectors.shape == (len(titles), 16 if name == "fusion" else 8)
    assert np.isfinite(vectors).all()


def test_lsa_puts_items_with_the_same_words_together():
    # Two of the five singular values are equal: fewer dimensions would cut between them.
    vectors = LatentSemanticAnalysis().encode(make_input(dimensions=5)).vectors
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.4 and similarity[4, 5] > 0.2
    assert abs(similarity[0, 4]) < 0.01
    assert not vectors[3].any()


def test_lsa_reads_every_script_and_single_characters():
    vectors = LatentSemanticAnalysis().encode(make_input(["口红", "シャンプー", "5"])).vectors
    assert vectors.any(axis=1).all()


TEXTS = st.lists(st.text(st.sampled_from("ab c\nd口\u2028É_"), max_size=8), max_size=12)


@settings(max_examples=100)
@given(TEXTS, st.integers(1, 30))
def test_lsa_gives_an_old_item_its_vector_again(titles, max_terms):
    encoder = LatentSemanticAnalysis(max_terms=max_terms)
    encoded = encoder.encode(make_input(titles, [], dimensions=5))
    again = encoder.encode_new(make_items(titles), encoded.state)
    np.testing.assert_allclose(again.vectors, encoded.vectors, atol=1e-6)
    one_by_one = [encoder.encode_new(make_items([t]), encoded.state).vectors[0] for t in titles]
    np.testing.assert_allclose(
        np.array(one_by_one).reshape(encoded.vectors.shape), encoded.vectors, atol=1e-5
    )


def test_lsa_places_a_new_item_beside_those_that_share_its_words():
    encoder = LatentSemanticAnalysis()
    encoded = encoder.encode(make_input())
    new = make_items(["yellow nail polish", "unheard of", ""])
    vectors = encoder.encode_new(new, encoded.state).vectors
    similarity = vectors[0] @ encoded.vectors.T
    assert similarity[:3].min() > 0.5 and np.abs(similarity[4:]).max() < 0.01
    assert not vectors[1:].any()


def naive_pairs(sequences, items, window):
    counts = np.zeros((items, items))
    for sequence in sequences:
        for i, a in enumerate(sequence):
            for j, b in enumerate(sequence):
                if a != b and 0 < abs(i - j) <= window:
                    counts[a, b] += 1 / abs(i - j)
    return counts


SEQUENCE_LISTS = st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=6)


@settings(max_examples=100)
@given(SEQUENCE_LISTS, st.integers(1, 10))
def test_pairs_are_counted_within_the_window_of_one_sequence(sequences, window):
    arrays = [np.array(s, dtype=np.int32) for s in sequences]
    counts = Cooccurrence(window=window).count_pairs(arrays, 6).toarray()
    np.testing.assert_allclose(counts, naive_pairs(sequences, 6, window))


@settings(max_examples=100)
@given(SEQUENCE_LISTS)
def test_ppmi_is_its_formula(sequences):
    counts = naive_pairs(sequences, 6, 3)
    expected = np.zeros((6, 6))
    for a, b in zip(*counts.nonzero(), strict=True):
        ratio = counts[a, b] * counts.sum() / (counts[a].sum() * counts[:, b].sum())
        expected[a, b] = max(0.0, math.log(ratio))
    np.testing.assert_allclose(_ppmi(csr_array(counts)).toarray(), expected, rtol=1e-5, atol=1e-7)


def test_cooccurrence_puts_items_of_the_same_sequences_together():
    rng = np.random.default_rng(0)
    community = np.arange(40) % 2
    sequences = [2 * rng.integers(0, 20, 8) + i % 2 for i in range(60)]
    encoded = Cooccurrence().encode(make_input(["x"] * 41, sequences, dimensions=8))
    similarity = encoded.vectors[:40] @ encoded.vectors[:40].T
    same = community[:, None] == community
    assert similarity[same].mean() > 0.2
    assert np.abs(similarity[~same]).max() < 0.02
    assert not encoded.vectors[40].any()
    new = Cooccurrence().encode_new(make_items(TITLES), encoded.state).vectors
    assert new.shape == (6, 8) and not new.any()


@pytest.mark.parametrize("exponent", [1.0, 0.5])
def test_truncated_svd_is_the_exact_one(exponent):
    rng = np.random.default_rng(1)
    matrix = (rng.normal(size=(12, 6)) * (rng.random((12, 6)) < 0.7)).astype(np.float32)
    matrix[4] = 0
    found = truncated_svd(csr_array(matrix), 3, seed=0, exponent=exponent)
    left, singular, _ = np.linalg.svd(matrix, full_matrices=False)
    expected = unit_rows(left[:, :3] * singular[:3] ** exponent)
    expected *= np.sign(left[np.abs(left[:, :3]).argmax(axis=0), np.arange(3)])
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert not found[4].any()


def test_truncated_svd_leaves_columns_beyond_the_rank_at_zero():
    matrix = csr_array(np.outer([1.0, 2.0, -1.0], [1.0, 1.0, 0.0, 3.0]).astype(np.float32))
    found = truncated_svd(matrix, 5, seed=0)
    np.testing.assert_allclose(found[:, 0], [1, 1, -1], rtol=1e-5)
    assert not found[:, 1:].any()


@settings(max_examples=50)
@given(st.integers(2, 12), st.integers(1, 8), st.integers(1, 10), st.integers(0, 2**31))
def test_principal_axes_are_those_of_the_svd_of_the_centred_rows(rows, width, wanted, seed):
    vectors = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    mean, axes = principal_axes(vectors, wanted)
    np.testing.assert_allclose(mean, vectors.mean(axis=0), atol=1e-6)
    singular, directions = np.linalg.svd(vectors - vectors.mean(axis=0))[1:]
    shares = singular[:wanted] / singular[0]
    assert (shares > 2e-3).sum() <= len(axes) <= (shares > 5e-4).sum()
    for number, axis in enumerate(axes):
        assert axis[np.abs(axis).argmax()] > 0
        gaps = np.abs(np.delete(singular, number) - singular[number]) / singular[0]
        if gaps.min(initial=1) > 0.05:  # else the axes of like variance are not determined
            assert abs(axis @ directions[number]) == pytest.approx(1, abs=1e-3)


def test_principal_axes_do_not_depend_on_the_number_of_threads():
    vectors = np.random.default_rng(0).normal(size=(2000, 96)).astype(np.float32)
    found = []
    for threads in (1, 2, 3):
        with threadpool_limits(limits=threads):
            found.append(principal_axes(vectors, 40))
    for mean, axes in found[1:]:
        assert np.array_equal(mean, found[0][0]) and np.array_equal(axes, found[0][1])
