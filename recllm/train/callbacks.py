"""What a training run leaves and says while it goes on."""

import json
import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from recllm.artifacts.atomic import write_text
from recllm.progress import progress

log = logging.getLogger(__name__)

#: What is said of the training, if it is logged; the last one of them.
TRAINED = {"loss": "training loss", "group_hit_rate": "target among those rolled out"}


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


class StepBar(TrainerCallback):
    """How many steps are done, as `recllm.progress` shows it."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._open = ExitStack()
        self._advance: Callable[[int], None] = lambda _: None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start, at the step that a resumed training goes on from."""
        del args, control
        self._advance = self._open.enter_context(progress(f"{self._stage}: steps", state.max_steps))
        self._advance(state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Count one."""
        del args, state, control
        self._advance(1)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Clear the bar away."""
        del args, state, control
        self._open.close()


class EpochLines(TrainerCallback):
    """One line an evaluation: how far, how the training goes, the validation metrics."""

    def __init__(self, stage: str) -> None:
        self._stage = stage

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
        trained = ""
        for name, said in TRAINED.items():
            values = [row[name] for row in state.log_history if name in row]
            trained = f"{said} {values[-1]:.3f}, " if values else trained
        figures = [f"{name.removeprefix('eval_')} {value:.4f}" for name, value in metrics.items()]
        log.info(
            "%s: epoch %.3g of %g, step %s of %s: %svalidation %s",
            self._stage,
            state.epoch or 0.0,
            args.num_train_epochs,
            f"{state.global_step:,}",
            f"{state.max_steps:,}",
            trained,
            ", ".join(figures),
        )
