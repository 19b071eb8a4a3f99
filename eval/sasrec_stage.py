"""The stage `sasrec`: a baseline that is trained, and the teacher of rewards that need one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from recllm.artifacts.stage import Stage
from recllm.catalog.histories import Sequences, SplitRows
from recllm.config.sasrec_section import SasrecSection
from recllm.config.schema import Recipe


class Sasrec(Stage):
    """Trains SASRec on training interactions, and keeps the epoch that ranks valid best.

    Writes `model.safetensors` and `settings.json`, for `recllm.baselines.sasrec.SasRec.load`, and
    `metrics.jsonl`, a line an epoch. A recipe without a section `sasrec` that needs it has its
    defaults.
    """

    name = "sasrec"
    parents = ("filter", "split")
    seeded = True

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self._section = recipe.sasrec or SasrecSection()

    def settings(self) -> dict[str, Any]:
        """The section, and whether validation excludes a history's own items."""
        excluded = {"exclude_history": self.recipe.eval.exclude_history}
        return self._section.model_dump(mode="json") | excluded

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Train; see the base class.

        Raises:
            UserError: there is nothing to train on.
        """
        from recllm.baselines.sasrec import EpochFigures, HeldOut, SasRec  # torch

        items = pq.read_metadata(inputs["filter"] / "items.parquet").num_rows
        sequences = Sequences.read(inputs["split"])
        rows = SplitRows.read(inputs["split"], "valid", sequences)
        excluded = rows.histories if self.recipe.eval.exclude_history else None
        training = sequences.training
        epochs: list[EpochFigures] = []
        with (out / "metrics.jsonl").open("w", encoding="utf-8") as log:

            def on_epoch(figures: EpochFigures) -> None:
                epochs.append(figures)
                log.write(json.dumps(figures.as_row()) + "\n")
                log.flush()

            model = SasRec.fit(
                training,
                items,
                self._section,
                self.recipe.seed,
                HeldOut(rows.histories, rows.target, excluded),
                on_epoch,
            )
        model.save(out)
        return {
            "training_interactions": int(training.lengths.sum()),
            "training_targets": int((training.lengths - 1).clip(min=0).sum()),
            "valid": len(rows),
            "epochs": len(epochs),
        }
