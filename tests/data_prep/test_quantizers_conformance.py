"""What holds for every quantizer of vectors."""

import json

import numpy as np
import pytest

from recllm.catalog.resolution import resolve_collisions
from recllm.catalog.sid_tree import reconstruction_errors
from recllm.config.plugins import QUANTIZERS
from recllm.data_prep.quantizers import Quantizer
from recllm.errors import UserError

#: Options that keep training short.
SHORT = {
    "rq-vae": {"hidden": [16], "latent": 4, "epochs": 3, "iterations": 5},
    "rq-kmeans-plus": {"hidden": [16], "epochs": 3},
}
QUANTIZING = [name for name in QUANTIZERS.names() if issubclass(QUANTIZERS.load(name), Quantizer)]
pytestmark = pytest.mark.parametrize("name", QUANTIZING)


def make(name: str) -> Quantizer:
    return QUANTIZERS.load(name)(**SHORT.get(name, {}))


def random_vectors(items: int = 300, dimensions: int = 6) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(items, dimensions)).astype(np.float32)


def check_unique(name: str, vectors: np.ndarray, levels: int, codes: int, seed: int = 0) -> None:
    """What every result must be, and that resolution makes its codes unique."""
    before = vectors.copy()
    found = make(name).quantize(vectors, levels, codes, seed)
    assert np.array_equal(vectors, before)
    assert found.codes.shape == (len(vectors), levels) and found.codes.dtype == np.int32
    assert found.codes.min() >= 0 and found.codes.max() < codes
    what = vectors if found.vectors is None else found.vectors
    assert what.dtype == found.codebooks.dtype == np.float32
    assert what.shape == (len(vectors), found.codebooks.shape[2])
    assert found.codebooks.shape[:2] == (levels, codes)
    assert np.isfinite(found.codebooks).all() and np.isfinite(what).all()
    resolved = resolve_collisions(found.codes, what, found.codebooks).codes
    assert len(np.unique(resolved, axis=0)) == len(vectors)


@pytest.mark.parametrize(("levels", "codes"), [(1, 300), (2, 18), (3, 16), (4, 8)])
def test_every_item_has_its_own_sid(name, levels, codes):
    check_unique(name, random_vectors(), levels, codes)


@pytest.mark.parametrize("dimensions", [1, 2, 50])
def test_vectors_of_any_width_are_quantized(name, dimensions):
    check_unique(name, random_vectors(100, dimensions), 3, 8)


@pytest.mark.parametrize("items", [1, 2, 5])
def test_fewer_items_than_codes_are_quantized(name, items):
    check_unique(name, random_vectors(items), 3, 256)


def test_items_with_the_same_vector_get_different_sids(name):
    vectors = random_vectors(40)[np.arange(200) % 40]
    vectors[100:] = vectors[0]
    check_unique(name, vectors, 3, 16)


def test_codes_approximate_the_vectors(name):
    vectors = random_vectors()
    found = make(name).quantize(vectors, 3, 16, 0)
    what = vectors if found.vectors is None else found.vectors
    errors = reconstruction_errors(what, found.codes, found.codebooks)
    assert errors.mean() < 0.7 * what.var(axis=0).sum()


@pytest.mark.parametrize("seed", [0, 2**32 - 1])
def test_the_seed_decides_everything(name, seed):
    vectors = random_vectors()
    one, same, other = (make(name).quantize(vectors, 2, 16, s) for s in (seed, seed, 5))
    assert np.array_equal(one.codes, same.codes)
    assert np.array_equal(one.codebooks, same.codebooks)
    assert not np.array_equal(one.codes, other.codes)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused(name, wrong):
    vectors = random_vectors()
    vectors[[3, 9], 1] = wrong
    with pytest.raises(UserError, match="NaN or infinity in 2 of 300; choose another"):
        make(name).quantize(vectors, 2, 16, 0)


def test_constant_vectors_are_refused(name):
    with pytest.raises(UserError, match="expected item vectors that differ, found 9 identical"):
        make(name).quantize(np.ones((9, 3), np.float32), 2, 4, 0)


def test_an_empty_catalogue_is_refused(name):
    with pytest.raises(UserError, match="found none"):
        make(name).quantize(np.ones((0, 3), np.float32), 2, 4, 0)


def test_fewer_sids_than_items_are_refused(name):
    vectors = random_vectors()
    with pytest.raises(UserError, match=r"found 16 SIDs .* for 300 items; raise sid.codes"):
        found = make(name).quantize(vectors, 2, 4, 0)
        what = vectors if found.vectors is None else found.vectors
        resolve_collisions(found.codes, what, found.codebooks)


def test_options_can_be_written_and_read_back(name):
    quantizer = make(name)
    again = type(quantizer)(**json.loads(json.dumps(quantizer.model_dump(mode="json"))))
    assert again == quantizer
