"""What holds for every indexing scheme."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from builders import write_stages
from catalogues import item_table, make_input, no_vectors, random_sequences
from safetensors.numpy import save_file

from recllm.catalog.sids import SidIndex, read_index
from recllm.catalog.trie_building import ENDED
from recllm.config.plugins import QUANTIZERS
from recllm.config.schema import EmbedSection, HealthSection, Recipe, SidSection
from recllm.data_prep.embed import Embed
from recllm.data_prep.encoders.cooccurrence import Cooccurrence
from recllm.data_prep.quantizers import Indexer, Indexing
from recllm.data_prep.quantizers.hybrid import Hybrid
from recllm.data_prep.sid import Sid
from recllm.errors import UserError

ITEMS = 150
SEQUENCES = random_sequences(ITEMS, 120, 9, seed=0)
VECTORS = np.random.default_rng(1).normal(size=(ITEMS, 6)).astype(np.float32)
#: Options that keep training short.
SHORT = {"rq-vae": {"epochs": 3}, "rq-kmeans-plus": {"epochs": 3}}
#: Every scheme, with its default options otherwise, and what is another one under an option.
SCHEMES: list[Indexer] = [
    QUANTIZERS.load(name)(**SHORT.get(name, {})) for name in QUANTIZERS.names()
]
SCHEMES.append(Hybrid(prefix="semantic"))
ANY_HEALTH = HealthSection(
    min_utilisation=0, max_collision_rate=1, max_resolution_cost=1e9, max_prefix_traffic=1
)


def named(value: object) -> str | None:
    return value.name if isinstance(value, Indexer) else None


def indexed(scheme: Indexer, **changes: int) -> Indexing:
    read = (lambda: VECTORS) if scheme.uses_vectors else no_vectors
    return scheme.index(make_input(item_table(ITEMS), SEQUENCES, read_vectors=read, **changes))


@pytest.mark.parametrize("scheme", SCHEMES, ids=named)
def test_every_item_has_a_path_of_its_own(scheme: Indexer) -> None:
    found = indexed(scheme)
    index = found.index
    assert index.item_ids == [f"id{i}" for i in range(ITEMS)]
    assert len(index) == len(set(index.texts())) == ITEMS
    assert index.variable_depth or not scheme.variable_depth
    assert found.proposed is None or found.proposed.shape[0] == ITEMS
    assert all(type(count) is int for count in found.counts.values())
    tokens = index.tokens()
    assert len(tokens) == len(set(tokens))
    if not isinstance(index, SidIndex):
        assert not tokens
        return
    for column, size in zip(index.codes.T, index.sizes, strict=True):
        assert column.min() >= ENDED and column.max() < size
    ended = index.codes == ENDED
    assert not ended[:, 0].any() and (ended[:, 1:] >= ended[:, :-1]).all()
    written = {f"{token}>" for text in index.texts() for token in text.split(">")[:-1]}
    assert written <= set(tokens)


@pytest.mark.parametrize("scheme", SCHEMES, ids=named)
def test_the_seed_decides(scheme: Indexer) -> None:
    one, same = indexed(scheme).index, indexed(scheme).index
    assert one.texts() == same.texts()


@pytest.mark.parametrize("scheme", SCHEMES, ids=named)
def test_only_training_interactions_count(scheme: Indexer, tmp_path: Path) -> None:
    """The stage, with the last two items of each sequence held out."""
    later_differs = [[*s[:-2], ITEMS - 1 - s[-2], ITEMS - 1 - s[-1]] for s in SEQUENCES]
    recipe = Recipe.model_construct(
        seed=0,
        embed=EmbedSection(encoder=Cooccurrence(), dimensions=8),
        sid=SidSection(quantizer=scheme, codes=8, health=ANY_HEALTH),
    )
    written = []
    for name, sequences in (("a", SEQUENCES), ("b", later_differs)):
        inputs = write_stages(tmp_path / name, item_table(ITEMS), sequences)
        stage, out = Sid(recipe), tmp_path / name / "sid"
        assert ("embed" in stage.parents) == scheme.uses_vectors
        out.mkdir()
        if scheme.uses_vectors:
            Embed(recipe).build(inputs, inputs["embed"])
        counts = stage.build({parent: inputs[parent] for parent in stage.parents}, out)
        assert counts["items"] == len(read_index(out / "sids.parquet")) == ITEMS
        written.append([(p.name, p.read_bytes()) for p in sorted(out.iterdir())])
    assert written[0] == written[1]


def test_earlier_interactions_do_count() -> None:
    """Else the test above could not fail."""
    changed = [[ITEMS - 1 - s[0], *s[1:]] for s in SEQUENCES]
    for name in ("sequential", "collaborative", "hybrid"):
        scheme: Indexer = QUANTIZERS.load(name)()
        other = scheme.index(make_input(item_table(ITEMS), changed))
        assert other.index.texts() != indexed(scheme).index.texts()


@pytest.mark.parametrize("name", ["random", "sequential", "collaborative", "hybrid", "semantic"])
def test_too_few_sids_for_the_catalogue(name: str) -> None:
    with pytest.raises(UserError, match=r"found 64 SIDs .* for 150 items; raise sid"):
        indexed(QUANTIZERS.load(name)(), levels=2)


@pytest.mark.parametrize("name", ["random", "sequential", "collaborative", "rq-kmeans"])
def test_an_empty_catalogue(name: str) -> None:
    with pytest.raises(UserError, match="found none"):
        empty = make_input(0, read_vectors=lambda: VECTORS[:0])
        QUANTIZERS.load(name)().index(empty)


def test_a_quantizer_s_own_vectors_are_what_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    from recllm.data_prep import quantizers
    from recllm.data_prep.quantizers import Quantized, resolve

    latent = np.array([[0.0], [4.0], [4.5]], dtype=np.float32)
    codes = np.zeros((3, 1), dtype=np.int32)
    codebooks = np.array([[[0.0], [4.0], [9.0]]], dtype=np.float32)
    given = make_input(3, read_vectors=lambda: np.zeros((3, 7), dtype=np.float32))
    seen = []
    real = quantizers.resolve_collisions
    monkeypatch.setattr(quantizers, "resolve_collisions", lambda *a: seen.append(a[1]) or real(*a))
    found = resolve(Quantized(codes, codebooks, latent), given)
    assert seen[0] is latent
    assert found.index.prefixes().tolist() == [[0], [1], [2]]
    assert found.distortion is not None
    assert found.distortion.variance == pytest.approx(latent.var())


def test_the_files_of_a_stage_say_what_was_indexed(tmp_path: Path) -> None:
    inputs = write_stages(tmp_path, item_table(ITEMS), SEQUENCES)
    save_file({"vectors": VECTORS}, inputs["embed"] / "vectors.safetensors")
    names = {"title": {"sids.parquet", "health.json"}, "rq-kmeans": {"codebooks.safetensors"}}
    for name, files in names.items():
        recipe = Recipe.model_construct(
            seed=0, sid=SidSection(quantizer=QUANTIZERS.load(name)(), codes=8, health=ANY_HEALTH)
        )
        out = tmp_path / name
        out.mkdir()
        counts = Sid(recipe).build(inputs, out)
        assert files <= {p.name for p in out.iterdir()}
        assert ("codebooks.safetensors" in {p.name for p in out.iterdir()}) == (name != "title")
        if name == "title":
            assert counts["moved"] == 21 and counts["distinct_before_resolution"] == 129
            assert pq.read_table(out / "sids.parquet").column_names == ["item_id", "title"]
