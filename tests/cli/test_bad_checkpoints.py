"""Checkpoints that cannot be what was saved: refused in one line, before any work is done."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from command_line import Outcome, recllm
from small_log import LOG, RECIPE

from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex
from recllm.config.schema import ModelSection
from recllm.models.backbone import load_backbone
from recllm.models.recommender import Recommender
from recllm.models.tokenizers import add_sid_tokens, load_tokenizer
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import CatalogText
from recllm.prompts.template import Template

SECTION = ModelSection(from_scratch={"hidden": 32, "layers": 1, "heads": 2, "vocabulary": 300})  # type: ignore[arg-type]
ITEMS = 8


def make_recommender(ids: list[str]) -> Recommender:
    items = Items(pa.table({"item_id": ids, "title": [f"Title {i}" for i in ids]}))
    codes = np.stack([np.arange(len(ids)) // 4, np.arange(len(ids)) % 4], axis=1).astype(np.int32)
    sids = SidIndex(items.ids, codes, 4)
    tokenizer = load_tokenizer(SECTION, items.titles)
    add_sid_tokens(tokenizer, sids)
    renderer = Renderer(Template.load("plain"), CatalogText(items, sids), tokenizer, 4)
    model = load_backbone(SECTION, tokenizer, seed=0)
    return Recommender(model, renderer, scoring="vocab", exclude_history=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log, a recipe, whose cached stages the tests share, and a checkpoint that fits them."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    (folder / "log.csv").write_text(LOG)
    make_recommender([f"i{i}" for i in range(ITEMS)]).save(folder / "model")
    return folder


def evaluate(folder: Path, model: Path) -> Outcome:
    options = ["eval.beams=5", "eval.cutoffs=[5]", "eval.bootstrap=100"]
    return recllm("eval", str(folder / "recipe.yaml"), *options, "--checkpoint", str(model))


def refused(folder: Path, model: Path) -> str:
    """What is said of a checkpoint: one line, and nothing else."""
    outcome = evaluate(folder, model)
    assert outcome.code == 2, outcome
    (line,) = outcome.err.splitlines()
    assert not outcome.out
    return line


@pytest.fixture
def model(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder / "model", tmp_path / "model"))


def test_the_whole_checkpoint_is_evaluated(folder: Path, model: Path) -> None:
    outcome = evaluate(folder, model)
    assert outcome.code == 0, outcome.err
    assert str(model) in outcome.out


@pytest.mark.parametrize(
    "missing",
    [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "sids.parquet",
        "items.parquet",
        "recllm.json",
    ],
)
def test_a_checkpoint_that_lacks_a_file(folder: Path, model: Path, missing: str) -> None:
    (model / missing).unlink()
    line = refused(folder, model)
    assert str(model) in line and missing in line
    assert "Traceback" not in line


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "config.json", "tokenizer.json", "sids.parquet", "items.parquet",
     "recllm.json"],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_checkpoint_with_a_file_cut_off(
    folder: Path, model: Path, name: str, share: float
) -> None:
    cut(model / name, share)
    assert str(model) in refused(folder, model)


def test_a_shard_that_is_missing(folder: Path, model: Path) -> None:
    (model / "model.safetensors").unlink()
    weights = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(weights))
    assert "lacks model-00001-of-00002.safetensors" in refused(folder, model)


def edit_tokens(model: Path, change: Callable[[list], list]) -> None:
    path = model / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["added_tokens"] = change(tokenizer["added_tokens"])
    path.write_text(json.dumps(tokenizer))


def without_sids(tokens: list) -> list:
    return [token for token in tokens if not token["content"].startswith("<a_")]


def exchanged(tokens: list) -> list:
    first, last = (next(t for t in tokens if t["content"] == c) for c in ("<a_0>", "<b_1>"))
    first["content"], last["content"] = last["content"], first["content"]
    return tokens


def with_more(tokens: list) -> list:
    highest = max(token["id"] for token in tokens)
    return [*tokens, {**tokens[-1], "id": highest + 1, "content": "<more>"}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_sids, "the tokenizer lacks 2 SID tokens of this index, such as <a_0>"),
        (exchanged, "gives the SID tokens other ids than the model was trained with"),
        (with_more, "the model's embedding has"),
    ],
)
def test_another_tokenizer(folder: Path, model: Path, change, message: str) -> None:
    edit_tokens(model, change)
    line = refused(folder, model)
    assert str(model) in line and message in line


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("intermediate_size", 99, "they have other sizes than it says"),
        ("num_hidden_layers", 2, "they lack 11 that it asks for, such as model.layers.1."),
        ("vocab_size", 10, "but the model's embedding has 10 rows"),
    ],
)
def test_weights_of_another_model(
    folder: Path, model: Path, key: str, value: int, message: str
) -> None:
    path = model / "config.json"
    described = json.loads(path.read_text())
    layers = {"layer_types": 2 * described["layer_types"]} if key == "num_hidden_layers" else {}
    path.write_text(json.dumps(described | layers | {key: value}))
    outcome = evaluate(folder, model)
    assert outcome.code == 2 and "Traceback" not in outcome.err
    line = outcome.err.splitlines()[-1]
    assert line.startswith("recllm: ") and str(model) in line and message in line


def test_an_index_of_other_items_than_the_catalogue_beside_it(folder: Path, model: Path) -> None:
    make_recommender([f"x{i}" for i in range(ITEMS)]).sids.write(model / "sids.parquet")
    assert "sids.parquet names 8 items, items.parquet others" in refused(folder, model)


@pytest.mark.parametrize(
    ("ids", "shared"), [([f"x{i}" for i in range(ITEMS)], 0), ([f"i{i}" for i in range(7)], 7)]
)
def test_a_catalogue_that_is_not_the_recipes(
    folder: Path, tmp_path: Path, ids: list[str], shared: int
) -> None:
    make_recommender(ids).save(tmp_path / "other")
    outcome = evaluate(folder, tmp_path / "other")
    assert outcome.code == 2
    line = outcome.err.splitlines()[-1]
    assert f"catalogue of {len(ids)} items is not the recipe's of 8 ({shared} in common)" in line


def test_a_plain_model_with_weights_in_pickle_is_refused(folder: Path, model: Path) -> None:
    for name in ("recllm.json", "sids.parquet", "items.parquet"):
        (model / name).unlink()
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    assert "lacks model.safetensors" in refused(folder, model)
