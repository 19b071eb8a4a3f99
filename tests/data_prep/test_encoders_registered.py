"""What holds for every registered encoder, and that none can see what is held out."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from encoder_inputs import make_input, many_items, write_sentence_model

from recllm.catalog.items import Items
from recllm.config.plugins import ENCODERS
from recllm.config.schema import EmbedSection, Recipe
from recllm.data_prep.embed import Embed, encode_new
from recllm.data_prep.encoders import Encoder, EncoderInput

from .conftest import Prepared

Prepare = Callable[..., Prepared]
NAMES = ENCODERS.names()
ITEMS = 24
USERS = 30


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoder]:
    """An encoder of every kind; the files that they need know items 0 to 299."""
    folder = tmp_path_factory.mktemp("encoders")
    vectors = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32)
    ids = [str(number) for number in range(300)]
    table = pa.table({"item_id": ids, "vector": vectors.tolist()})
    pq.write_table(table, folder / "vectors.parquet")
    options: dict[str, dict[str, Any]] = {
        "precomputed": {"path": folder / "vectors.parquet"},
        "sentence-transformers": {"model": str(write_sentence_model(folder / "model"))},
    }
    options["fusion"] = {
        "parts": {
            "lsa": 1.0,
            "cooccurrence": 1.0,
            "precomputed": {"path": str(folder / "vectors.parquet")},
        },
        "pca": 12,
    }
    return {name: ENCODERS.load(name)(**options.get(name, {})) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_one_finite_float32_row_for_each_item_the_same_each_time(name, examples):
    given = many_items()
    first = examples[name].encode(given)
    assert first.vectors.dtype == np.float32
    assert first.vectors.ndim == 2 and len(first.vectors) == 300
    assert np.isfinite(first.vectors).all() and first.vectors.any(axis=1).all()
    second = examples[name].encode(given)
    assert np.array_equal(first.vectors, second.vectors)
    assert first.state.keys() == second.state.keys()
    assert all(np.array_equal(array, second.state[key]) for key, array in first.state.items())
    assert first.counts == second.counts


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_items_does_not_matter(name, examples):
    given = many_items(items=40, dimensions=36)  # so many that the SVD has nothing to leave out
    order = np.random.default_rng(2).permutation(40)
    index = np.argsort(order)
    turned = EncoderInput(
        Items(given.items.table.take(order)),
        [index[sequence].astype(np.int32) for sequence in given.sequences],
        given.dimensions,
        given.seed,
    )
    vectors = examples[name].encode(given).vectors.astype(np.float64)
    other = examples[name].encode(turned).vectors[index].astype(np.float64)
    np.testing.assert_allclose(other @ other.T, vectors @ vectors.T, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_json_values_without_paths(name, examples):
    settings = json.dumps(examples[name].settings())
    assert "/" not in settings
    assert examples[name].settings() == type(examples[name])(**dict(examples[name])).settings()


@pytest.mark.parametrize("name", NAMES)
def test_new_items_get_vectors_of_the_same_width(name, examples):
    given = many_items()
    encoded = examples[name].encode(given)
    new = examples[name].encode_new(Items(given.items.table.slice(10, 5)), encoded.state)
    assert new.vectors.shape == (5, encoded.vectors.shape[1])
    assert np.isfinite(new.vectors).all()
    if name not in ("cooccurrence", "fusion"):  # those have learned from interactions
        np.testing.assert_allclose(new.vectors, encoded.vectors[10:15], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_input_is_not_changed(name, examples):
    given = many_items()
    table, sequences = given.items.table, [s.copy() for s in given.sequences]
    examples[name].encode(given)
    assert given.items.table.equals(table)
    assert all(map(np.array_equal, given.sequences, sequences))


@pytest.mark.parametrize("name", NAMES)
def test_duplicate_texts_and_items_without_text(name, examples):
    titles = ["red hair", "red hair", "", "blue hair brush", "green polish"]
    vectors = examples[name].encode(make_input(titles, [[0, 1, 3], [4, 3]])).vectors
    assert len(vectors) == 5 and np.isfinite(vectors).all()
    if name in ("lsa", "sentence-transformers"):
        assert np.array_equal(vectors[0], vectors[1])
        assert not vectors[2].any() and vectors[3].any()


class World:
    """A log whose items are all trained on, and the same log with other held-out interactions."""

    def __init__(self, folder: Path, prepare: Prepare) -> None:
        rng = np.random.default_rng(3)
        train = [rng.permutation(ITEMS)[:6].tolist() for _ in range(USERS)]
        train += [list(range(ITEMS))]  # every item, whatever comes later
        held_out = [(user, user + 1) for user in range(USERS + 1)]
        self.folder, self.prepare = folder, prepare
        self.plain = self._split("plain", train, held_out)
        self.later = self._split("later", train, [(a + 7, b + 11) for a, b in held_out])
        self.earlier = self._split("earlier", [[*t[1::2], *t[::2]] for t in train], held_out)

    def _split(
        self, name: str, train: list[list[int]], held_out: list[tuple[int, int]]
    ) -> dict[str, Prepared]:
        """Training at times 0 to 99, validation at 100, test at 200."""
        lines = ["user_id,item_id,timestamp"]
        for user, (items, (valid, test)) in enumerate(zip(train, held_out, strict=True)):
            times = [*range(len(items)), 100, 200]
            own = zip([*items, valid % ITEMS, test % ITEMS], times, strict=True)
            lines += [f"u{user},{item},{time}" for item, time in own]
        (self.folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
        items = self.folder / "items.csv"
        titles = [f"{number},word{number % 5} word{number % 7}" for number in range(ITEMS)]
        items.write_text("\n".join(["item_id,title", *titles]) + "\n")
        source = {"source": "files", "path": self.folder / f"{name}.csv", "items": items}
        cuts = {"split": "temporal", "valid_from": 100, "test_from": 200}
        return {
            "leave-one-out": self.prepare(**source, k_core=0),
            "temporal": self.prepare(**source, k_core=0, **cuts),
        }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, prepare: Prepare) -> Iterator[World]:
    yield World(tmp_path_factory.mktemp("world"), prepare)


def embed(encoder: Encoder, prepared: Prepared, out: Path) -> dict[str, bytes]:
    """The files of the embed stage, built with a cache of its own."""
    section = EmbedSection(encoder=encoder, dimensions=8)
    recipe = Recipe.model_construct(seed=0, embed=section, cache_dir=out / "cache")
    artifact = out / "embed"
    artifact.mkdir(parents=True)
    Embed(recipe).build(prepared.folders, artifact)
    return {path.name: path.read_bytes() for path in sorted(artifact.iterdir())}


@pytest.mark.parametrize("split", ["leave-one-out", "temporal"])
@pytest.mark.parametrize("name", NAMES)
def test_no_encoder_sees_validation_or_test_interactions(name, split, examples, world, tmp_path):
    logs = {"plain": world.plain[split], "later": world.later[split]}
    for held_out in ("valid", "test"):
        plain, later = (prepared.rows("split", held_out) for prepared in logs.values())
        assert len(plain) == USERS + 1
        assert all(a["target"] != b["target"] for a, b in zip(plain, later, strict=True))
    found = {key: embed(examples[name], logs[key], tmp_path / key) for key in logs}
    assert set(found["plain"]) == {"vectors.safetensors", "encoder.safetensors"}
    assert found["plain"] == found["later"]


@pytest.mark.parametrize("name", ["cooccurrence", "fusion"])
def test_training_interactions_are_seen(name, examples, world, tmp_path):
    plain, earlier = world.plain["temporal"], world.earlier["temporal"]
    found = [embed(examples[name], p, tmp_path / str(n)) for n, p in enumerate((plain, earlier))]
    assert found[0]["vectors.safetensors"] != found[1]["vectors.safetensors"]


@pytest.mark.parametrize("name", NAMES)
def test_new_items_are_encoded_from_the_artifact(name, examples, world, tmp_path):
    embed(examples[name], world.plain["temporal"], tmp_path)
    section = EmbedSection(encoder=examples[name], dimensions=8)
    recipe = Recipe.model_construct(seed=0, embed=section, cache_dir=tmp_path / "cache")
    items = make_input(["word1 word2", "red hair"], []).items
    encoded = encode_new(recipe, items, tmp_path / "embed")
    assert len(encoded.vectors) == 2 and np.isfinite(encoded.vectors).all()
