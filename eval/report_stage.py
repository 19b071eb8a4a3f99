"""The stage `report`: what a run did and how well, on one page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recllm.artifacts.manifest import Manifest
from recllm.artifacts.stage import Stage
from recllm.config.loading import keys_to_yaml
from recllm.config.schema import Recipe
from recllm.config.validation import dump
from recllm.eval.protocols import protocol_of
from recllm.eval.report.inputs import ReportInputs
from recllm.eval.report.writing import write_report

DATA_STAGES = ("ingest", "filter", "split", "embed", "sid", "prompts", "sft", "rl_prompts", "rl")


class Report(Stage):
    """Writes `report.html`, `report.md` and `report.csv`."""

    name = "report"
    version = 7  # shorter names of baselines
    publishes: Mapping[str, str] = {
        name: name for name in ("report.html", "report.md", "report.csv")
    }

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        without = [] if recipe.sid.quantizer.uses_vectors else ["embed"]
        if recipe.rl is None:
            without += ["rl_prompts", "rl"]
        elif recipe.rl.checkpoint is not None:
            without.append("sft")
        self._protocol = protocol_of(recipe)
        compared = ("baselines",) if "baselines" in self._protocol.parents else ()
        parents = (*DATA_STAGES, "statistics", *compared, "eval")
        self.parents = tuple(name for name in parents if name not in without)

    def settings(self) -> dict[str, Any]:
        """The whole recipe: the page shows it."""
        return {"recipe": _shown(self.recipe)}

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Gather what the other stages wrote; see the base class."""
        metrics = json.loads((inputs["eval"] / "metrics.json").read_text())
        found = {name: Manifest.read(inputs[name]) for name in self.parents}
        manifests = {name: manifest for name, manifest in found.items() if manifest is not None}
        predicted = self._protocol.report_parts(inputs)
        report = ReportInputs(
            name=self.recipe.output_dir.name,
            recipe_yaml=_shown(self.recipe),
            metrics=metrics,
            training=_log(inputs.get("sft")),
            reinforcement=_log(inputs.get("rl")),
            data_counts={name: m.counts for name, m in manifests.items() if name in DATA_STAGES},
            statistics=json.loads((inputs["statistics"] / "statistics.json").read_text()),
            stages={
                name: {"seconds": m.seconds, "peak_memory_bytes": m.peak_memory_bytes}
                for name, m in manifests.items()
            },
            sid_health=json.loads((inputs["sid"] / "health.json").read_text()),
            **predicted,
        )
        write_report(report, out)
        return {"examples": len(report.examples)}


def _shown(recipe: Recipe) -> str:
    """The recipe but for where its model is pushed to, which changes no page."""
    return keys_to_yaml({name: value for name, value in dump(recipe).items() if name != "hub"})


def _log(trained: Path | None) -> list[dict[str, Any]]:
    """The rows of a training's log; none where it was not trained."""
    if trained is None:
        return []
    return [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
