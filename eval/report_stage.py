"""The stage `report`: what a run did and how well, on one page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq

from recllm.artifacts.manifest import Manifest
from recllm.artifacts.stage import Stage
from recllm.catalog.histories import Sequences, SplitRows
from recllm.catalog.items import Items
from recllm.config.loading import to_yaml
from recllm.config.schema import Recipe
from recllm.eval.baselines_stage import read_baselines
from recllm.eval.report.inputs import ReportInputs
from recllm.eval.report.writing import write_report
from recllm.metrics.ranking import compute

DATA_STAGES = ("ingest", "filter", "split", "embed", "sid", "prompts", "sft")
EXAMPLES = 8
SHOWN = 10


class Report(Stage):
    """Writes `report.html` and `report.md`."""

    name = "report"
    version = 4  # what prefixes of SIDs have in common
    publishes: ClassVar[dict[str, str]] = {"report.html": "report.html", "report.md": "report.md"}

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        without = () if recipe.sid.quantizer.uses_vectors else ("embed",)
        parents = (*DATA_STAGES, "statistics", "baselines", "eval")
        self.parents = tuple(name for name in parents if name not in without)

    def settings(self) -> dict[str, Any]:
        """The whole recipe: the page shows it."""
        return {"recipe": to_yaml(self.recipe)}

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Gather what the other stages wrote; see the base class."""
        metrics = json.loads((inputs["eval"] / "metrics.json").read_text())
        training = (inputs["sft"] / "metrics.jsonl").read_text().splitlines()
        found = {name: Manifest.read(inputs[name]) for name in self.parents}
        manifests = {name: manifest for name, manifest in found.items() if manifest is not None}
        examples = find_examples(inputs, self.recipe.seed)
        report = ReportInputs(
            name=self.recipe.output_dir.name,
            recipe_yaml=to_yaml(self.recipe),
            metrics=metrics,
            training=[json.loads(line) for line in training],
            data_counts={name: m.counts for name, m in manifests.items() if name in DATA_STAGES},
            statistics=json.loads((inputs["statistics"] / "statistics.json").read_text()),
            stages={
                name: {"seconds": m.seconds, "peak_memory_bytes": m.peak_memory_bytes}
                for name, m in manifests.items()
            },
            sid_health=json.loads((inputs["sid"] / "health.json").read_text()),
            examples=examples,
            hit_curve=hit_curve(inputs, self.recipe.eval.beams),
        )
        write_report(report, out)
        return {"examples": len(examples)}


def hit_curve(inputs: Mapping[str, Path], beams: int) -> dict[str, dict[int, float]]:
    """hit@k of the model and of the baselines at every k up to the beams."""
    table = pq.read_table(inputs["eval"] / "predictions.parquet", columns=["rank"])
    ranks = {"model": table["rank"].to_numpy()}
    ranks |= {
        name: found.ranking.ranks
        for name, found in read_baselines(inputs["baselines"], "test").items()
    }
    cutoffs = range(1, beams + 1)
    return {
        name: {k: float(compute(f"hit@{k}", found).mean()) for k in cutoffs}
        for name, found in ranks.items()
    }


def find_examples(inputs: Mapping[str, Path], seed: int) -> list[dict[str, Any]]:
    """A few test rows with titles: half of them with a hit in the first ten, where there are."""
    items = Items.read(inputs["filter"] / "items.parquet")
    titles = dict(zip(items.ids, items.titles, strict=True))
    rows = SplitRows.read(inputs["split"], "test", Sequences.read(inputs["split"]))
    table = pq.read_table(inputs["eval"] / "predictions.parquet")
    ranks = table["rank"].to_numpy()
    hit = (ranks >= 0) & (ranks < SHOWN)
    rng = np.random.default_rng(seed)
    chosen = [*rng.permutation(np.flatnonzero(hit))[: EXAMPLES // 2]]
    chosen += [*rng.permutation(np.flatnonzero(~hit))[: EXAMPLES - len(chosen)]]
    examples = []
    for index in sorted(int(i) for i in chosen):
        (prediction,) = table.slice(index, 1).to_pylist()
        target = items.ids[prediction["target"]]
        top = zip(prediction["item_ids"][:SHOWN], prediction["scores"][:SHOWN], strict=True)
        examples.append(
            {
                "user_id": prediction["user_id"],
                "history_titles": [items.titles[item] for item in rows.history(index)],
                "target_title": titles[target],
                "recommended": [
                    {"title": titles[item_id], "score": score, "hit": item_id == target}
                    for item_id, score in top
                ],
            }
        )
    return examples
