"""The embed and sid stages and the health report, on a small catalogue and on a real one."""

import csv
import gzip
import json
import math
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from builders import write_stages
from safetensors.numpy import load_file, save_file

from recllm.catalog.histories import Spans
from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex
from recllm.config.schema import EmbedSection, HealthSection, Recipe, SidSection
from recllm.data_prep.embed import Embed
from recllm.data_prep.encoders import Encoded, Encoder
from recllm.data_prep.encoders.fusion import Fusion
from recllm.data_prep.encoders.lsa import LatentSemanticAnalysis
from recllm.data_prep.quantizers import IndexingInput, Quantized, resolve
from recllm.data_prep.quantizers.rq_kmeans import ResidualKMeans
from recllm.data_prep.sid import Sid
from recllm.data_prep.sid_health import check_health, measure_health
from recllm.errors import UserError

BEAUTY = Path(os.environ.get("RECLLM_DATA", "")) / "amazon14-beauty"


def make_recipe(seed=0, encoder=None, levels=3, codes=8, **health) -> Recipe:
    return Recipe.model_construct(
        seed=seed,
        embed=EmbedSection(encoder=encoder or Fusion(), dimensions=8),
        sid=SidSection(
            quantizer=ResidualKMeans(), levels=levels, codes=codes, health=HealthSection(**health)
        ),
    )


def write_inputs(folder: Path, titles: list[str], sequences: list[list[int]]) -> dict[str, Path]:
    """The folders of the filter and split stages; the last two items are not for training."""
    ids = [f"item{i}" for i in range(len(titles))]
    return write_stages(folder, pa.table({"item_id": ids, "title": titles}), sequences)


@pytest.fixture
def log():
    rng = np.random.default_rng(0)
    titles = [f"w{i % 7} w{i % 5} w{i % 11}" for i in range(120)]
    return titles, rng.integers(0, 120, (80, 9)).tolist()


@pytest.fixture
def inputs(tmp_path, log):
    return write_inputs(tmp_path, *log)


def build_both(recipe: Recipe, inputs: dict[str, Path], out: Path) -> dict[str, int]:
    out.mkdir()
    Embed(recipe).build(inputs, inputs["embed"])
    return Sid(recipe).build(inputs, out)


def test_embed_writes_a_vector_for_each_item(inputs):
    counts = Embed(make_recipe()).build(inputs, inputs["embed"])
    vectors = load_file(inputs["embed"] / "vectors.safetensors")["vectors"]
    assert vectors.shape == (120, 16) and vectors.dtype == np.float32
    assert counts["items"] == 120 and counts["dimensions"] == 16
    assert counts["training_interactions"] == 80 * 7
    assert counts["zero_vectors"] == (~vectors.any(axis=1)).sum() == 0


def test_embed_sees_training_interactions_only(tmp_path, log):
    titles, sequences = log
    later_differs = [[*s[:-2], 119 - s[-2], 119 - s[-1]] for s in sequences]
    earlier_differs = [[119 - s[0], *s[1:]] for s in sequences]
    found = []
    for name, variant in zip("abc", (sequences, later_differs, earlier_differs), strict=True):
        inputs = write_inputs(tmp_path / name, titles, variant)
        Embed(make_recipe()).build(inputs, inputs["embed"])
        found.append((inputs["embed"] / "vectors.safetensors").read_bytes())
    assert found[0] == found[1]
    assert found[0] != found[2]


class BrokenEncoder(Encoder):
    rows: int
    value: float

    def encode(self, given):
        return Encoded(np.full((self.rows, 4), self.value, dtype=np.float32))


@pytest.mark.parametrize(("rows", "value"), [(119, 0.0), (120, np.nan)])
def test_embed_holds_encoders_to_their_promise(inputs, rows, value):
    recipe = make_recipe(encoder=BrokenEncoder(rows=rows, value=value))
    with pytest.raises(ValueError, match="expected"):
        Embed(recipe).build(inputs, inputs["embed"])


def test_sid_writes_unique_sids_codebooks_and_health(inputs, tmp_path):
    counts = build_both(make_recipe(max_resolution_cost=10), inputs, tmp_path / "sid")
    index = SidIndex.read(tmp_path / "sid" / "sids.parquet")
    assert index.item_ids == [f"item{i}" for i in range(120)]
    assert index.codes.shape == (120, 3) and index.codes_per_level == 8
    assert len(set(index.texts())) == 120
    assert load_file(tmp_path / "sid" / "codebooks.safetensors")["codebooks"].shape == (3, 8, 16)
    health = json.loads((tmp_path / "sid" / "health.json").read_text())
    assert health["levels"][0]["used"] == 8
    assert counts["items"] == health["items"] == 120
    assert counts["distinct_before_resolution"] + counts["moved"] >= 120  # some move to be nearer
    assert counts["moved"] == health["moved"] > 0


def test_the_same_seed_gives_the_same_bytes(inputs, tmp_path):
    recipe = make_recipe(max_resolution_cost=10)
    files = ("sids.parquet", "codebooks.safetensors", "health.json")
    written = []
    for name in ("one", "two"):
        build_both(recipe, inputs, tmp_path / name)
        written.append([(tmp_path / name / file).read_bytes() for file in files])
    assert written[0] == written[1]


def test_settings_say_all_that_decides_the_output():
    lsa = make_recipe(encoder=LatentSemanticAnalysis(max_terms=9))
    assert Embed(lsa).settings() == {
        "encoder": "lsa",
        "options": {"max_terms": 9},
        "dimensions": 8,
    }
    assert Sid(make_recipe()).settings() != Sid(make_recipe(max_collision_rate=0.1)).settings()
    assert Sid(make_recipe()).settings()["options"] == {"iterations": 20, "sample": 65536}
    json.dumps(Sid(make_recipe()).settings())


def test_an_unhealthy_set_of_sids_fails_the_stage(inputs, tmp_path):
    vectors = np.zeros((120, 4), dtype=np.float32)
    vectors[0] = 1
    save_file({"vectors": vectors}, inputs["embed"] / "vectors.safetensors")
    with pytest.raises(UserError) as caught:
        Sid(make_recipe()).build(inputs, tmp_path)
    message = str(caught.value)
    assert "utilisation is 0.250, below sid.health.min_utilisation (0.5)" in message
    assert "collision_rate is 0.992, above sid.health.max_collision_rate (0.9)" in message
    assert not (tmp_path / "sids.parquet").exists()


def test_too_few_sids_fail_the_stage(inputs, tmp_path):
    with pytest.raises(UserError, match="for 120 items; raise sid"):
        build_both(make_recipe(levels=2), inputs, tmp_path / "sid")


def health_of(codes, vectors, codebooks, traffic):
    """The health of quantized items, each of which is alone in as many sequences as it has."""
    items = Items(pa.table({"item_id": [str(i) for i in range(len(codes))]}))
    sequences = Spans.from_lists([[item] for item, n in enumerate(traffic) for _ in range(n)])
    levels, codes_per_level = codebooks.shape[:2]
    given = IndexingInput(items, sequences, levels, codes_per_level, 0, lambda: vectors)
    return measure_health(resolve(Quantized(codes, codebooks), given), sequences)


def small_health(traffic):
    codes = np.array([[0, 0], [0, 0], [1, 0], [1, 1]], dtype=np.int32)
    vectors = np.array([[0.0], [0.5], [10.0], [11.0]], dtype=np.float32)
    codebooks = np.array([[[0.0], [10.0], [0], [0]], [[0.0], [1.0], [5.0], [5.0]]], np.float32)
    return health_of(codes, vectors, codebooks, traffic)


def test_health_figures():
    health = small_health([5, 3, 1, 1])
    assert [(level.used, level.codes) for level in health.levels] == [(2, 4), (2, 4)]
    assert health.levels[0].utilisation == 0.5
    assert health.levels[0].perplexity == pytest.approx(2)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert health.levels[1].perplexity == pytest.approx(math.exp(entropy))
    assert health.distinct_before == 3
    assert health.collision_rate == 0.5
    assert health.traffic_collision_rate == 0.8
    assert (health.moved, health.moved_prefix) == (1, 0)
    assert health.mse_before == pytest.approx(0.0625)
    assert health.mse_after == pytest.approx(0.0625)  # 0.5 lies midway between 0 and 1
    assert health.resolution_cost == pytest.approx(0)
    assert health.fullest_prefix_traffic == 0.8
    assert health.sharing_rate == 0
    # of the codes, most used first: both items of a code, then none for the other two
    assert health.items_by_code[0] == [[0, 0], [0.25, 0.5], [0.5, 1], [0.75, 1], [1, 1]]
    assert health.traffic_by_first_code == [[0, 0], [0.25, 0.8], [0.5, 1], [0.75, 1], [1, 1]]


def test_health_without_traffic():
    health = small_health([0, 0, 0, 0])
    assert health.traffic_collision_rate == health.fullest_prefix_traffic == 0


def test_cost_is_relative_to_the_error_or_to_one_percent_of_the_variance():
    codebooks = np.array([[[0.0], [1.0], [20.0]]], dtype=np.float32)
    codes = np.array([[0], [0], [2]], dtype=np.int32)
    vectors = np.array([[0.0], [0.0], [20.0]], dtype=np.float32)
    health = health_of(codes, vectors, codebooks, [1, 1, 1])
    assert health.mse_before == health.unexplained_share == 0
    assert health.resolution_cost == pytest.approx((1 / 3) / (0.01 * vectors.var()))


@pytest.mark.parametrize(
    ("limits", "figure"),
    [
        ({"min_utilisation": 0.6}, "utilisation is 0.500"),
        ({"max_collision_rate": 0.4}, "collision_rate is 0.500"),
        ({"max_collision_rate": 0.6}, "traffic_collision_rate is 0.800"),
        ({"max_prefix_traffic": 0.7}, "fullest_prefix_traffic is 0.800"),
    ],
)
def test_a_crossed_limit_is_named(limits, figure):
    health = small_health([5, 3, 1, 1])
    with pytest.raises(UserError) as caught:
        check_health(health, HealthSection(**limits))
    key, limit = next(iter(limits.items()))
    assert figure in str(caught.value)
    assert f"sid.health.{key} ({limit})" in str(caught.value)
    assert "sid.quantizer" in str(caught.value)
    check_health(health, HealthSection())


def beauty_log() -> tuple[list[str], list[list[int]]]:
    with gzip.open(BEAUTY / "items.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    index = {row["item_id"]: i for i, row in enumerate(rows)}
    by_user: dict[str, list[tuple[int, int]]] = {}
    with gzip.open(BEAUTY / "interactions.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            by_user.setdefault(row["user_id"], []).append(
                (int(row["position"]), index[row["item_id"]])
            )
    sequences = [[item for _, item in sorted(pairs)] for pairs in by_user.values()]
    return [f"{row['title']} {row['categories']}" for row in rows], sequences


@pytest.mark.slow
@pytest.mark.skipif(not BEAUTY.is_dir(), reason="RECLLM_DATA has no amazon14-beauty")
def test_real_items_have_healthy_sids(tmp_path):
    inputs = write_inputs(tmp_path, *beauty_log())
    base = make_recipe(codes=256)
    recipe = base.model_copy(update={"embed": EmbedSection(encoder=Fusion(), dimensions=64)})
    counts = build_both(recipe, inputs, tmp_path / "sid")
    health = json.loads((tmp_path / "sid" / "health.json").read_text())
    assert counts["items"] == 12_101
    assert [level["utilisation"] for level in health["levels"]] == [1, 1, 1]
    assert health["collision_rate"] < 0.2
    assert health["traffic_collision_rate"] < 0.35
    assert health["resolution_cost"] < 0.03
    assert health["fullest_prefix_traffic"] < 0.1
    assert len(set(SidIndex.read(tmp_path / "sid" / "sids.parquet").texts())) == 12_101
