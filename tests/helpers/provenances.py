"""What is known of small checkpoints, made by hand: recipes, manifests, metrics."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from tunable import CODES, make_catalog

from recllm.artifacts.manifest import Manifest
from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex
from recllm.config.loading import load_recipe
from recllm.config.schema import Recipe
from recllm.hub.provenance import Provenance
from recllm.models.checkpoint_files import DESCRIPTION, write_catalog
from recllm.prompts.tasks import CatalogText

ESTIMATES = {"hit@1": 0.01, "hit@5": 0.04, "hit@10": 0.0625, "ndcg@5": 0.03, "ndcg@10": 0.035}


def make_recipe(folder: Path, **sections: Any) -> Recipe:
    """A recipe of a whole small model, but for the sections that are given."""
    keys: dict[str, Any] = {
        "output_dir": "runs/mine",
        "model": {"from_scratch": {"hidden": 32, "heads": 2}},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(keys | sections))
    return load_recipe(str(path))


def make_manifest(stage: str, settings: Mapping[str, Any] | None = None, **counts: int) -> Manifest:
    """A manifest of a stage without parents."""
    return Manifest(
        stage=stage, stage_version=1, key=f"{stage}-key", settings=dict(settings or {}),
        parents={}, seed=0, code_version="0.0.7", commit="c0ffee", counts=counts, files={},
        seconds=150.0, peak_memory_bytes=1,
    )  # fmt: skip


def trained_from(name: str | None, files: dict[str, str] | None = None) -> Manifest:
    """The manifest of a fine-tuning that began from a model: on the Hub, or of these files."""
    model = {"model": {"name": name, "files": files}}
    return make_manifest("sft", model, steps=1200, tokens=34_567, best_step=900, parameters=1000)


def estimate(value: float) -> dict[str, Any]:
    """An entry of metrics.json."""
    return {"value": value, "ci95": [value - 0.01, value + 0.01], "n": 2000}


def make_metrics(model: Mapping[str, float] | None = None) -> dict[str, Any]:
    """What an evaluation writes: above popularity, below co-visitation, some cold targets."""
    values = ESTIMATES if model is None else model
    lower = {name: estimate(value / 2) for name, value in values.items()}
    return {
        "split": "test",
        "rows": 2000,
        "settings": {"engine": "transformers", "beams": 50, "exclude_history": True},
        "metrics": {name: estimate(value) for name, value in values.items()},
        "baselines": {"popularity": lower, "covisitation": lower | {"hit@10": estimate(0.07)}},
        "paired": {
            "popularity": {"hit@10": estimate(0.03)},
            "covisitation": {"hit@10": estimate(-0.0125)},
        },
        "beyond_accuracy": {
            "model": {
                "coverage": 0.25,
                "popularity_recommended": 120.0,
                "popularity_targets": 60.0,
                "popularity_bias": 2.0,
            }
        },
        "slices": {"cold_target": [{"label": "cold", "n": 7, "model": {"hit@10": estimate(0.02)}}]},
    }


def make_checkpoint(
    folder: Path,
    titles: list[str] | None = None,
    ids: list[str] | None = None,
    **described: Any,
) -> Path:
    """The files of a checkpoint that a card is made of; its weights are none.

    Args:
        titles, ids: of the items; those of `tunable` without.
        described: more keys of recllm.json.
    """
    folder.mkdir(parents=True)
    catalog = make_catalog(items=len(titles or ids or range(30)))
    assert isinstance(catalog.sids, SidIndex)
    ids, titles = ids or catalog.items.ids, titles or catalog.items.titles
    sids = SidIndex(ids, catalog.sids.codes, CODES)
    write_catalog(folder, CatalogText(Items(pa.table({"item_id": ids, "title": titles})), sids))
    write_json(folder / DESCRIPTION, {"format": 1, **described})
    (folder / "model.safetensors").write_bytes(b"weights")
    write_json(folder / "tokenizer.json", {"vocab": {"/usr/bin": 0}})
    return folder


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content), encoding="utf-8")


def known(recipe: Recipe, *manifests: Manifest, **more: Any) -> Provenance:
    """All of it as one."""
    return Provenance(recipe, {manifest.stage: manifest for manifest in manifests}, **more)
