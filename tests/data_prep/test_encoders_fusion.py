"""The encoder `fusion`: weights, options of its parts, principal components, new items."""

import importlib
import math

import numpy as np
import pytest
from encoder_inputs import make_input, make_items, many_items
from threadpoolctl import threadpool_limits

from recllm.config.validation import dump, validate
from recllm.data_prep import encoders
from recllm.data_prep.encoders.fusion import Fusion
from recllm.data_prep.encoders.lsa import LatentSemanticAnalysis
from recllm.errors import UserError


def test_weights_are_shares_of_squared_distance():
    vectors = Fusion(parts={"lsa": 3.0, "cooccurrence": 1.0}).encode(make_input()).vectors
    squares = np.square(vectors).sum(axis=1)
    assert vectors.shape == (6, 8)
    assert squares.mean() == pytest.approx(4, rel=1e-5)
    assert np.square(vectors[:, :4]).sum(axis=1).mean() == pytest.approx(1, rel=1e-5)


def test_it_does_not_depend_on_how_its_parts_are_written():
    one = Fusion(parts={"lsa": 2.0, "cooccurrence": 1}).encode(make_input())
    other = Fusion(parts={"cooccurrence": {"weight": 1.0}, "lsa": {"weight": 2}})
    assert np.array_equal(one.vectors, other.encode(make_input()).vectors)
    assert other.settings() == Fusion(parts={"lsa": 2.0, "cooccurrence": 1.0}).settings()


def test_parts_have_options_of_their_own():
    few = Fusion(parts={"lsa": {"max_terms": 2}, "cooccurrence": {"weight": 4.0, "window": 1}})
    assert few.settings()["parts"] == {
        "cooccurrence": {"weight": 4.0, "window": 1},
        "lsa": {"weight": 1.0, "max_terms": 2},
    }
    vectors = few.encode(many_items()).vectors
    alone = LatentSemanticAnalysis(max_terms=2).encode(many_items()).vectors
    lengths = math.sqrt(np.square(alone).sum() / len(alone))
    np.testing.assert_allclose(vectors[:, 16:], alone / lengths, rtol=1e-5)


def test_a_recipe_names_parts_with_and_without_options():
    embed = {"encoder": "fusion", "parts": {"lsa": {"max_terms": 9}, "cooccurrence": 2}, "pca": 8}
    recipe = {"output_dir": "unused", "model": {"name": "unused"}, "embed": embed}
    written = dump(validate(recipe))
    assert written["embed"]["parts"] == {
        "lsa": {"weight": 1.0, "max_terms": 9},
        "cooccurrence": 2.0,
    }
    assert dump(validate(written)) == written


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "at least 1 item"),
        ({"lsaa": 1.0}, "unknown part 'lsaa'; did you mean 'lsa'"),
        ({"fusion": 1.0}, "unknown part 'fusion'"),
        ({"lsa": 0.0}, "the weight of part 'lsa' must be above 0"),
        ({"lsa": math.inf}, "must be above 0"),
        ({"lsa": math.nan}, "must be above 0"),
        ({"lsa": "heavy"}, "must be above 0, found 'heavy'"),
        ({"lsa": None}, "must be above 0, found None"),
        ({"lsa": {"weight": True}}, "must be above 0, found True"),
        ({"lsa": {"max_term": 3}}, "lsa.max_term: unknown key; did you mean 'max_terms'"),
        ({"lsa": {"max_terms": 0}}, "lsa.max_terms: expected greater than or equal to 1, found 0"),
        ({"precomputed": 1.0}, "precomputed.path: is required, but missing"),
        ({"a_b": 1.0, "a-b": 1.0}, "expected each part once"),
    ],
)
def test_what_is_not_a_part_is_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        Fusion(parts=parts)


ENCODER_FILE = """
import numpy as np
from recllm.data_prep.encoders import Encoded, Encoder

class Own(Encoder):
    scale: float = 1.0

    def encode(self, given):
        return Encoded(np.ones((len(given.items), 1), dtype=np.float32), counts={"seen": 7})
"""


@pytest.fixture
def own_encoder(tmp_path):
    (tmp_path / "own_encoder.py").write_text(ENCODER_FILE)
    importlib.invalidate_caches()
    encoders.__path__.append(str(tmp_path))
    yield
    encoders.__path__.remove(str(tmp_path))


@pytest.mark.usefixtures("own_encoder")
def test_a_new_encoder_file_is_a_part():
    fused = Fusion(parts={"own_encoder": 4.0, "lsa": 1.0})
    assert set(fused.parts) == {"own-encoder", "lsa"}
    encoded = fused.encode(make_input())
    np.testing.assert_allclose(encoded.vectors[:, -1], 2)
    assert encoded.counts == {"own_encoder_seen": 7}
    with pytest.raises(UserError, match="own-encoder cannot encode items that come later"):
        fused.encode_new(make_items(["x"]), encoded.state)


def test_pca_keeps_the_distances_that_it_can():
    given = many_items(dimensions=16)
    whole = Fusion().encode(given).vectors
    reduced = Fusion(pca=32).encode(given).vectors
    assert reduced.shape == (300, 32)
    np.testing.assert_allclose(reduced.mean(axis=0), 0, atol=1e-5)
    for left, right in ((0, 1), (5, 200), (17, 18)):
        distance = np.linalg.norm(whole[left] - whole[right])
        assert np.linalg.norm(reduced[left] - reduced[right]) == pytest.approx(distance, rel=1e-4)
    few = Fusion(pca=5).encode(given).vectors
    np.testing.assert_allclose(few, reduced[:, :5], atol=1e-4)
    variances = few.var(axis=0)
    assert (np.diff(variances) <= 1e-6).all()
    exact = np.linalg.eigvalsh(np.cov(whole.T, bias=True))[::-1][:5]
    np.testing.assert_allclose(variances, exact, rtol=1e-3)


def test_pca_is_the_same_with_any_number_of_threads():
    found = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            found.append(Fusion(pca=8).encode(many_items()).vectors)
    assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize("titles", [[], ["one"], ["a b", "a b"], ["a", "b", "c"]])
def test_pca_of_tiny_catalogues_is_padded_with_zeros(titles):
    vectors = Fusion(pca=6).encode(make_input(titles, [], dimensions=4)).vectors
    assert vectors.shape == (len(titles), 6)
    assert np.isfinite(vectors).all()
    assert not vectors[:, 2:].any()


def test_pca_wider_than_the_parts_is_refused():
    with pytest.raises(UserError, match=r"at most the 8 dimensions that the parts have .* found 9"):
        Fusion(pca=9).encode(make_input())


@pytest.mark.parametrize("pca", [None, 5])
def test_new_items_are_scaled_and_turned_like_the_old(pca):
    given = many_items()
    encoder = Fusion(parts={"lsa": 3.0}, pca=pca)
    encoded = encoder.encode(given)
    again = encoder.encode_new(given.items, encoded.state).vectors
    np.testing.assert_allclose(again, encoded.vectors, atol=1e-5)
    both = Fusion(pca=pca)
    state = both.encode(given).state
    new = both.encode_new(make_items(["word1 word2", "unheard"]), state).vectors
    assert new.shape == (2, pca or 32) and np.isfinite(new).all()
    if pca is None:  # no training sequence has them
        assert not new[:, :16].any() and new[0, 16:].any() and not new[1].any()
