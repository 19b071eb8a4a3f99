"""What a training run leaves and says while it goes on."""

import json
import logging
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from recllm.artifacts.atomic import write_text

log = logging.getLogger(__name__)


class MetricsFile(TrainerCallback):
    """Keeps `metrics.jsonl` equal to the trainer's log, also after a resumed run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Rewrite the file; it is short."""
        del args, control
        rows = (json.dumps(row, sort_keys=True) for row in state.log_history)
        write_text(self.path, "".join(f"{row}\n" for row in rows))


class EpochLines(TrainerCallback):
    """One line an evaluation: how far, the loss since the last one, the validation metrics."""

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **given: Any,
    ) -> None:
        """Say it."""
        del control
        metrics: dict[str, float] = given["metrics"]
        losses = [row["loss"] for row in state.log_history if "loss" in row]
        loss = f"training loss {losses[-1]:.3f}, " if losses else ""
        figures = [f"{name.removeprefix('eval_')} {value:.4f}" for name, value in metrics.items()]
        log.info(
            "sft: epoch %.3g of %g, step %s of %s: %svalidation %s",
            state.epoch or 0.0,
            args.num_train_epochs,
            f"{state.global_step:,}",
            f"{state.max_steps:,}",
            loss,
            ", ".join(figures),
        )
