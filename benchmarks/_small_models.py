"""Small models that benchmarks train, how they rank, and tables of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.split_names import SplitName
from recllm.metrics.bootstrap import bootstrap_interval
from recllm.metrics.ranking import compute

METRICS = ("hit@10", "ndcg@10")


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        health: of its SIDs, as health.json has it.
        seconds: of the stage sft.
        steps: of training.
        ranked: for each metric its value of each row of the split.
        users: the user of each of these rows.
    """

    health: Mapping[str, Any]
    seconds: float
    steps: int
    ranked: Mapping[str, NDArray[np.float64]]
    users: list[str]

    def mean(self, metric: str) -> float:
        """Over the rows."""
        return float(self.ranked[metric].mean())

    def cell(self, metric: str) -> str:
        """The mean with its 95% interval, by bootstrap over users."""
        low, high = bootstrap_interval(self.ranked[metric], np.array(self.users), 1000, 0)
        return f"{self.mean(metric):.4f} [{low:.4f}, {high:.4f}]"


def head(first: str, *columns: str) -> str:
    """The first two lines of a table."""
    cells = [first, *columns]
    return "\n".join(["", f"| {' | '.join(cells)} |", "|" + " --- |" * len(cells)])


def folder_of(case: str, seed: int) -> str:
    """The name of the folder of one model."""
    return f"{case}-{seed}".replace(", ", "-").replace(" ", "-")


def train(
    recipe: str,
    overrides: list[str],
    split: SplitName,
    beams: int,
    threads: int,
    *,
    sample: int | None = None,
) -> Trained:
    """Run a recipe up to sft, and rank the rows of a split.

    Args:
        sample: how many rows of the split, drawn at random, always the same; all by default.
    """
    import torch

    from recllm.catalog.histories import Sequences, SplitRows
    from recllm.cli import pipeline
    from recllm.config.loading import load_recipe
    from recllm.metrics.ranking import ranks_of
    from recllm.models.recommender import Recommender

    torch.set_num_threads(threads)
    loaded = load_recipe(recipe, overrides)
    done = pipeline.run(loaded, "sft")
    rows = SplitRows.read(done["split"].path, split, Sequences.read(done["split"].path))
    if sample is not None and sample < len(rows):
        drawn = np.random.default_rng(0).choice(len(rows), sample, replace=False)
        rows = rows.select(np.sort(drawn))
    recommender = Recommender.load(done["sft"].path / "model")
    found = recommender.rank(
        list(rows.histories),
        beams=beams,
        batch_tokens=loaded.eval.batch_tokens,
    )
    ranks = ranks_of(found.items, rows.target)
    return Trained(
        health=json.loads((done["sid"].path / "health.json").read_text()),
        seconds=done["sft"].manifest.seconds,
        steps=done["sft"].manifest.counts["steps"],
        ranked={name: compute(name, ranks) for name in METRICS},
        users=rows.user_ids,
    )


def rank_baselines(recipe: str, overrides: list[str], split: SplitName) -> dict[str, Trained]:
    """The baselines on the same rows."""
    from recllm.catalog.histories import Sequences, SplitRows
    from recllm.cli import pipeline
    from recllm.config.loading import load_recipe
    from recllm.eval.baselines_stage import read_baselines

    done: dict[str, Path] = {
        name: artifact.path
        for name, artifact in pipeline.run(load_recipe(recipe, overrides), "baselines").items()
    }
    users = SplitRows.read(done["split"], split, Sequences.read(done["split"])).user_ids
    return {
        name: Trained(
            health={},
            seconds=0.0,
            steps=0,
            ranked={metric: compute(metric, rows.ranking.ranks) for metric in METRICS},
            users=users,
        )
        for name, rows in read_baselines(done["baselines"], split).items()
    }
