"""MiniOneRec's Industrial and Scientific, ranked by a small model that its validation trained."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from recllm.artifacts.cache import Artifact
from recllm.cli import pipeline
from recllm.config.loading import load_recipe

NAME = "Industrial_and_Scientific"
RECIPE = """
extends: base/quickstart
output_dir: {folder}/run
cache_dir: {folder}/cache
data: {{source: minionerec, path: {folder}/data, k_core: 0, split: given}}
sid:
  quantizer: import
  path: {folder}/data/{name}.index.json.gz
  on_collision: keep
  health: {{max_collision_rate: 1, min_utilisation: 0, max_prefix_traffic: 1}}
prompts: {{max_history: 10}}
model: {{from_scratch: {{hidden: 96, layers: 3, heads: 3}}}}
sft: {{targets: last, loss: vocab, trainer: {{num_train_epochs: 2}}}}
eval: {{beams: 50, scoring: vocab}}
"""


def write_recipe(folder: Path, data: Path) -> str:
    """A recipe in a folder; the validation rows are trained on, since no others are at hand.

    Args:
        data: MiniOneRec's files.
    """
    given = folder / "data"
    given.mkdir()
    for file in data.iterdir():
        (given / file.name).symlink_to(file)
    (given / f"{NAME}.train.csv.gz").symlink_to(data / f"{NAME}.valid.csv.gz")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(folder=folder, name=NAME))
    return str(recipe)


def evaluate(recipe: str, engine: str) -> Artifact:
    """The artifact of the stage eval."""
    return pipeline.run(load_recipe(recipe, (f"eval.engine={engine}",)), "eval")["eval"]


def cost_of(artifact: Artifact) -> str:
    """What an evaluation took, in words."""
    metrics = json.loads((artifact.path / "metrics.json").read_text())
    memory = metrics["cost"]["peak_memory_bytes"] / 2**30
    return (
        f"{metrics['rows']:,} rows, 50 beams: {artifact.manifest.seconds:.1f} s for the stage, "
        f"{memory:.2f} GiB in this process, invalid rate {metrics['invalid_rate']:g}"
    )


def compare(one: Artifact, other: Artifact) -> str:
    """How near two engines are, in words."""
    tables = [pq.read_table(a.path / "predictions.parquet") for a in (one, other)]
    items, scores = (
        [np.array(table[name].to_pylist()) for table in tables] for name in ("item_ids", "scores")
    )
    same = (items[0][:, :10] == items[1][:, :10]).all(axis=1).mean()
    apart = np.abs(scores[0] - scores[1]).max()
    return f"top 10 equal on {same:.2%} of rows, scores within {apart:.1g}"


def report_industrial(folder: Path) -> None:
    """Print what both engines take for its 4,533 test rows, and how near they are."""
    data = os.environ.get("RECLLM_DATA")
    if not data:
        print("Industrial: RECLLM_DATA is not set")
        return
    recipe = write_recipe(folder, Path(data) / "minionerec-industrial")
    found = {engine: evaluate(recipe, engine) for engine in ("transformers", "vllm")}
    for engine, artifact in found.items():
        print(f"Industrial, a model of the demo's size, {engine}: {cost_of(artifact)}")
    print(f"Industrial, both engines: {compare(*found.values())}")
