"""The encoders: what each promises, and what only one of them does."""

import importlib
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from recllm.catalog.items import Items
from recllm.config.plugins import ENCODERS
from recllm.data_prep import encoders
from recllm.data_prep.encoders import EncoderInput
from recllm.data_prep.encoders._vectors import truncated_svd, unit_rows
from recllm.data_prep.encoders.cooccurrence import Cooccurrence, _ppmi
from recllm.data_prep.encoders.fusion import Fusion
from recllm.data_prep.encoders.lsa import LatentSemanticAnalysis

NAMES = ["lsa", "cooccurrence", "fusion"]
TITLES = [
    "red nail polish",
    "blue nail polish",
    "green nail polish",
    "",
    "hair dryer",
    "hair brush",
]
SEQUENCES = [[0, 1, 2], [1, 2, 0, 1], [4, 5], [5, 4, 5]]


def make_input(titles=TITLES, sequences=SEQUENCES, dimensions=4) -> EncoderInput:
    table = pa.table({"item_id": [str(i) for i in range(len(titles))], "title": titles})
    arrays = [np.asarray(s, dtype=np.int32) for s in sequences]
    return EncoderInput(Items(table), arrays, dimensions, seed=0)


def many_items(items=300, dimensions=16) -> EncoderInput:
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(60)])
    titles = [" ".join(rng.choice(words, 4)) for _ in range(items)]
    sequences = [rng.integers(0, items, 6).tolist() for _ in range(400)]
    return make_input(titles, sequences, dimensions)


@pytest.mark.parametrize("name", NAMES)
def test_one_finite_float32_row_for_each_item_the_same_each_time(name):
    given_input = many_items()
    first = ENCODERS.load(name)().encode(given_input)
    assert first.dtype == np.float32
    assert len(first) == 300
    assert np.isfinite(first).all() and first.any(axis=1).all()
    assert np.array_equal(first, ENCODERS.load(name)().encode(given_input))


@pytest.mark.parametrize("name", ["lsa", "cooccurrence"])
def test_rows_have_the_asked_width_and_length_one(name):
    vectors = ENCODERS.load(name)().encode(many_items())
    assert vectors.shape == (300, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("titles", [[], ["one"], ["one", ""], ["", ""], ["a b", "a b"]])
def test_tiny_catalogues_are_padded_with_zeros(name, titles):
    vectors = ENCODERS.load(name)().encode(make_input(titles, [], dimensions=8))
    assert vectors.shape == (len(titles), 16 if name == "fusion" else 8)
    assert np.isfinite(vectors).all()


def test_lsa_puts_items_with_the_same_words_together():
    vectors = LatentSemanticAnalysis().encode(make_input())
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.5 and similarity[4, 5] > 0.2
    assert abs(similarity[0, 4]) < 0.01
    assert not vectors[3].any()


def test_lsa_reads_every_script_and_single_characters():
    vectors = LatentSemanticAnalysis().encode(make_input(["口红", "シャンプー", "5"]))
    assert vectors.any(axis=1).all()


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
    vectors = Cooccurrence().encode(make_input(["x"] * 41, sequences, dimensions=8))
    similarity = vectors[:40] @ vectors[:40].T
    same = community[:, None] == community
    assert similarity[same].mean() > 0.2
    assert np.abs(similarity[~same]).max() < 0.02
    assert not vectors[40].any()


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


def test_fusion_weights_are_shares_of_squared_distance():
    vectors = Fusion(parts={"lsa": 3.0, "cooccurrence": 1.0}).encode(make_input())
    squares = np.square(vectors).sum(axis=1)
    assert vectors.shape == (6, 8)
    assert squares.mean() == pytest.approx(4, rel=1e-5)
    assert np.square(vectors[:, :4]).sum(axis=1).mean() == pytest.approx(1, rel=1e-5)


def test_fusion_does_not_depend_on_how_its_parts_are_written():
    one = Fusion(parts={"lsa": 2.0, "cooccurrence": 1.0}).encode(make_input())
    other = Fusion(parts={"cooccurrence": 1.0, "lsa": 2.0}).encode(make_input())
    assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "at least 1 item"),
        ({"lsaa": 1.0}, "unknown part 'lsaa'; did you mean 'lsa'"),
        ({"fusion": 1.0}, "unknown part 'fusion'"),
        ({"lsa": 0.0}, "the weight of part 'lsa' must be above 0"),
        ({"lsa": math.inf}, "must be above 0"),
        ({"lsa": math.nan}, "must be above 0"),
    ],
)
def test_fusion_refuses_what_is_not_a_part(parts, message):
    with pytest.raises(ValueError, match=message):
        Fusion(parts=parts)


ENCODER_FILE = """
import numpy as np
from recllm.data_prep.encoders import Encoder

class Own(Encoder):
    {option}

    def encode(self, given):
        return np.ones((len(given.items), 1), dtype=np.float32)
"""


@pytest.fixture
def add_encoder(tmp_path, monkeypatch):
    def add(name: str, option: str) -> None:
        (tmp_path / f"{name}.py").write_text(ENCODER_FILE.format(option=option))
        importlib.invalidate_caches()

    encoders.__path__.append(str(tmp_path))
    yield add
    encoders.__path__.remove(str(tmp_path))


def test_a_new_encoder_file_is_a_part(add_encoder):
    add_encoder("own_encoder", "scale: float = 1.0")
    fused = Fusion(parts={"own_encoder": 4.0, "lsa": 1.0})
    assert set(fused.parts) == {"own-encoder", "lsa"}
    np.testing.assert_allclose(fused.encode(make_input())[:, -1], 2)


def test_an_encoder_that_needs_options_is_no_part(add_encoder):
    add_encoder("needy_encoder", "path: str")
    with pytest.raises(ValueError, match="cannot be a part: it has no default for path"):
        Fusion(parts={"needy-encoder": 1.0})
