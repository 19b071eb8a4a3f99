"""Residual k-means."""

from itertools import pairwise

import numpy as np
import pytest

from recllm.catalog.sid_tree import reconstruction_errors
from recllm.data_prep.quantizers.rq_kmeans import ResidualKMeans
from recllm.errors import UserError


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)


def test_codes_and_codebooks_have_their_shapes_and_ranges(vectors):
    found = ResidualKMeans().quantize(vectors, 3, 16, seed=0)
    assert found.codes.shape == (400, 3) and found.codes.dtype == np.int32
    assert found.codebooks.shape == (3, 16, 8) and found.codebooks.dtype == np.float32
    assert found.codes.min() >= 0 and found.codes.max() < 16


def test_every_code_is_the_nearest_to_what_is_left(vectors):
    found = ResidualKMeans().quantize(vectors, 3, 16, seed=0)
    left = vectors.astype(np.float64)
    for level, codebook in enumerate(found.codebooks):
        distances = ((left[:, None] - codebook) ** 2).sum(axis=2)
        chosen = distances[np.arange(400), found.codes[:, level]]
        np.testing.assert_allclose(chosen, distances.min(axis=1), atol=1e-4)
        left -= codebook[found.codes[:, level]]


def test_each_level_explains_more(vectors):
    found = ResidualKMeans().quantize(vectors, 4, 16, seed=0)
    errors = [
        reconstruction_errors(vectors, found.codes[:, :level], found.codebooks).mean()
        for level in range(5)
    ]
    assert all(later < 0.9 * earlier for earlier, later in pairwise(errors))


def test_centroids_are_the_means_of_their_items(vectors):
    found = ResidualKMeans(iterations=100).quantize(vectors, 1, 8, seed=0)
    for code in range(8):
        mean = vectors[found.codes[:, 0] == code].mean(axis=0)
        np.testing.assert_allclose(found.codebooks[0, code], mean, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_the_seed_decides_everything(vectors, seed):
    one = ResidualKMeans().quantize(vectors, 2, 16, seed)
    same = ResidualKMeans().quantize(vectors, 2, 16, seed)
    other = ResidualKMeans().quantize(vectors, 2, 16, 1)
    assert np.array_equal(one.codes, same.codes)
    assert np.array_equal(one.codebooks, same.codebooks)
    assert not np.array_equal(one.codes, other.codes)


@pytest.mark.parametrize("sample", [None, 50, 400])
def test_a_sample_fits_the_codebooks_of_all_items(vectors, sample):
    found = ResidualKMeans(sample=sample).quantize(vectors, 2, 16, seed=0)
    assert len(found.codes) == 400
    whole = ResidualKMeans(sample=None).quantize(vectors, 2, 16, seed=0)
    assert np.array_equal(found.codes, whole.codes) == (sample != 50)


def test_fewer_distinct_vectors_than_codes_are_reproduced_exactly():
    distinct = np.array([[0, 1], [2, 0], [5, 5]], dtype=np.float32)
    vectors = distinct[[0, 1, 1, 2, 0]]
    found = ResidualKMeans().quantize(vectors, 2, 8, seed=0)
    assert not reconstruction_errors(vectors, found.codes, found.codebooks).any()
    assert len(np.unique(found.codes, axis=0)) == 3
    assert found.codes[:, 0].max() < 3 and not found.codebooks[0, 3:].any()
    assert not found.codebooks[1].any() and not found.codes[:, 1].any()


def test_the_input_is_not_changed(vectors):
    before = vectors.copy()
    ResidualKMeans().quantize(vectors, 2, 4, seed=0)
    assert np.array_equal(vectors, before)


def test_vectors_that_cannot_be_quantized_are_the_users_mistake(vectors):
    broken = vectors.copy()
    broken[3, 1], broken[9, 0] = np.nan, np.inf
    with pytest.raises(UserError, match="NaN or infinity in 2 of 400"):
        ResidualKMeans().quantize(broken, 2, 4, seed=0)
    with pytest.raises(UserError, match="found 5 identical ones"):
        ResidualKMeans().quantize(np.ones((5, 3), np.float32), 2, 4, seed=0)
    with pytest.raises(UserError, match="found none"):
        ResidualKMeans().quantize(np.ones((0, 3), np.float32), 2, 4, seed=0)
