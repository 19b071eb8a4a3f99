"""When reinforcement learning is measured and saved."""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.training_args import TrainingArguments


class StartingPoint(TrainerCallback):
    """Measures the checkpoint before the first step: only what is better takes its place."""

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Measure, where the training does not go on from a later step."""
        del control
        if state.global_step == 0:
            metrics = self._trainer.evaluate()
            state.best_metric = metrics[str(args.metric_for_best_model)]
            state.best_global_step = 0


class BetweenRollouts(TrainerCallback):
    """Puts off what is done with a checkpoint until the rollout at hand has been used.

    A rollout may serve several steps; a training that went on in the middle of them would need it.
    """

    def __init__(self, small_steps: int) -> None:
        """Set how many small steps a rollout serves."""
        self._small_steps = small_steps
        self._put_off = (False, False)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Put off, or make up for it."""
        saves, evaluates = self._put_off
        saves, evaluates = saves or control.should_save, evaluates or control.should_evaluate
        is_used = state.global_step * args.gradient_accumulation_steps % self._small_steps == 0
        control.should_save, control.should_evaluate = saves and is_used, evaluates and is_used
        self._put_off = (False, False) if is_used else (saves, evaluates)
