"""The stage `eval`: the test split asked once, scored beside the baselines on the same rows."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recllm.artifacts.stage import Stage
from recllm.config.schema import Recipe
from recllm.config.validation import dump
from recllm.eval.cost import training_cost
from recllm.eval.general_text import text_identity
from recllm.eval.protocols import protocol_of


class Eval(Stage):
    """Writes `predictions.parquet`, `metrics.json`, and `candidates.parquet` where asked for."""

    name = "eval"
    version = 5  # counts targets outside the catalogue as misses
    seeded = True
    goes_on = "from the rows that have not been ranked yet"
    publishes: Mapping[str, str] = {
        "metrics.json": "eval/metrics.json",
        "predictions.parquet": "eval/predictions.parquet",
    }

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self._protocol = protocol_of(recipe)
        if recipe.eval.candidates is not None:
            self.publishes = {**self.publishes, "candidates.parquet": "eval/candidates.parquet"}
        self.parents = (*self._protocol.parents, recipe.trained_by)

    def check(self) -> None:
        """Refuse an engine that does not fit the items, and a text that cannot be read."""
        self._protocol.check()

    def settings(self) -> dict[str, Any]:
        """The whole `eval` section, a text by its content, and the precision."""
        section = dump(self.recipe)["eval"]
        text = self.recipe.eval.perplexity
        del section["perplexity"]
        if text is not None:
            section["perplexity"] = text_identity(text)
        return {"eval": section, "dtype": self.recipe.model.dtype}

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Ask the trained checkpoint about the test rows; see the base class."""
        trained = inputs[self.recipe.trained_by]
        metrics = self._protocol.evaluate(trained / "model", inputs, out)
        metrics["cost"]["training"] = training_cost(trained)
        (out / "metrics.json").write_text(json.dumps(metrics, indent=2, allow_nan=False))
        return {"rows": metrics["rows"]}
