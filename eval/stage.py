"""The stage `eval`: the test split ranked once, scored beside the baselines on the same rows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from recllm.artifacts.stage import Stage
from recllm.config.validation import dump
from recllm.eval.cost import training_cost
from recllm.eval.evaluation import evaluate


class Eval(Stage):
    """Writes `predictions.parquet` and `metrics.json`."""

    name = "eval"
    version = 3  # states the batch size and the precision that were used
    parents = ("filter", "split", "sid", "prompts", "sft", "baselines")
    seeded = True
    publishes: ClassVar[dict[str, str]] = {
        "metrics.json": "eval/metrics.json",
        "predictions.parquet": "eval/predictions.parquet",
    }

    def settings(self) -> dict[str, Any]:
        """The whole `eval` section, and the precision."""
        return {"eval": dump(self.recipe)["eval"], "dtype": self.recipe.model.dtype}

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Rank the test rows with the trained checkpoint; see the base class."""
        metrics = evaluate(self.recipe, inputs["sft"] / "model", inputs, out)
        metrics["cost"]["training"] = training_cost(inputs["sft"])
        (out / "metrics.json").write_text(json.dumps(metrics, indent=2, allow_nan=False))
        return {"rows": metrics["rows"]}
