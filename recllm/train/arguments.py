"""What recllm sets for TRL's trainers, whatever they train."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers.training_args import TrainingArguments

from recllm.config.schema import Recipe
from recllm.errors import UserError
from recllm.models.devices import resolve_device, resolve_dtype
from recllm.train.measures import best_metric

Arguments = TypeVar("Arguments", bound=TrainingArguments)


def trainer_arguments(
    kind: type[Arguments],
    recipe: Recipe,
    stage: str,
    *,
    folder: Path,
    defaults: dict[str, Any],
    given: dict[str, Any],
) -> Arguments:
    """TRL's configuration of a training: our defaults, the stage's, then what the recipe gives.

    Args:
        folder: of the checkpoints.

    Raises:
        UserError: TRL does not take them.
    """
    try:
        return kind(**(_common(recipe, folder) | defaults | given))
    except (TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{stage}.trainer: TRL does not take these settings: {said}") from None


def _common(recipe: Recipe, folder: Path) -> dict[str, Any]:
    on_cpu = resolve_device().type == "cpu"
    return {
        "output_dir": str(folder),
        "seed": recipe.seed,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        # With 1 the trainer deletes the last checkpoint before the model is saved, and a kill
        # between the two would cost all since the best one.
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": f"eval_{best_metric(recipe)}",
        "greater_is_better": True,
        "restore_callback_states_from_checkpoint": True,
        "logging_steps": 20,
        "bf16": resolve_dtype(recipe.model.dtype) == torch.bfloat16,
        "use_cpu": on_cpu,
        "disable_tqdm": True,  # StepBar takes its place
        "log_level_replica": "error",  # the first process says it
        "ddp_find_unused_parameters": False,  # all that are trained are used
        "dataloader_pin_memory": not on_cpu,
    }
