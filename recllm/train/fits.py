"""Whether a training fits the GPU, said before it starts."""

import os
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from recllm.config.model_section import LoraSection
from recllm.config.schema import Recipe
from recllm.errors import UserError
from recllm.models.memory import ADAMW, GIB, Job, ModelSize, estimate, model_size, what_fits
from recllm.models.model_names import find_model
from recllm.models.references import BaseReference, is_adapter

#: Launchers that spread a model over processes: each holds less than all of it.
SPREADING = ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP")
#: Bytes that optimisers keep for each trained weight, by a part of their name; others keep AdamW's.
OPTIMIZERS = {"paged": 0.0, "8bit": 2.0, "adafactor": 0.0, "sgd": 0.0}


def check_memory(recipe: Recipe, arguments: Any, rows: int, length: int) -> None:
    """Refuse a training that cannot fit the GPU; without one, or with several, nothing is said.

    Args:
        arguments: the trainer's.
        rows: SID tokens whose rows are new or trained.
        length: tokens of the longest training row; 0 where that is not known yet.

    Raises:
        UserError: it needs more memory than the GPU has; says what would fit.
    """
    available = _gpu_memory()
    if available is None or recipe.model.name is None:
        return
    size = _size(recipe, rows)
    if size is not None:
        accumulated = None if recipe.sft.batch_size else arguments.gradient_accumulation_steps
        require_room(size, _job(recipe, arguments, rows, length), available, accumulated)


def _gpu_memory() -> int | None:
    """The bytes of the GPU; None without one, and where several hold parts of the model."""
    spread = any(os.environ.get(name, "").lower() in ("1", "true") for name in SPREADING)
    if spread or not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_properties(0).total_memory


def require_room(size: ModelSize, job: Job, available: float, accumulated: int | None = 1) -> None:
    """Refuse a job that needs more than the available bytes.

    Args:
        accumulated: over how many batches gradients are accumulated; None where that follows from
            the recipe's sft.batch_size, beside which it must not be given.

    Raises:
        UserError: it does; says what would fit.
    """
    needed = estimate(size, job)
    if needed.total <= available:
        return
    accumulation = "with sft.trainer.gradient_accumulation_steps: {}"
    fitting = [
        f"model.tuning: {other.tuning}, sft.trainer.per_device_train_batch_size: {other.batch}"
        + (f" {accumulation.format(steps * accumulated)}" if accumulated and steps > 1 else "")
        for other, steps in what_fits(size, job, available)
    ]
    advice = "; or ".join(fitting) or "a smaller model, or shorter histories (prompts.max_history)"
    of_length = f" of up to {job.length} tokens" if job.length else ""
    raise UserError(
        f"model.tuning: {job.tuning} with {job.batch} rows{of_length} at once needs at least "
        f"{needed}, but the GPU has {available / GIB:.1f}; what would fit: {advice}"
    )


def _size(recipe: Recipe, rows: int) -> ModelSize | None:
    """The sizes of a recipe's model; None where it cannot be found, which loading it will tell."""
    name = recipe.model.name
    assert name is not None
    try:
        place = find_model(name)
        while is_adapter(place.name):
            base = BaseReference.of_adapter(Path(place.name))
            place = find_model(base.name, base.revision)
        config = AutoConfig.from_pretrained(
            place.name,
            trust_remote_code=recipe.model.trust_remote_code,
            **({"revision": place.revision} if place.revision else {}),
        )
        return model_size(config, config.get_text_config(decoder=True).vocab_size + rows)
    except (OSError, ValueError, AttributeError, UserError):
        return None


def _job(recipe: Recipe, arguments: Any, rows: int, length: int) -> Job:
    lora, tuning = recipe.model.lora or LoraSection(), recipe.model.tuning
    optimizer = str(getattr(arguments.optim, "value", arguments.optim))
    return Job(
        tuning=tuning,
        rank=lora.rank,
        rows=rows if tuning == "sid-rows" or lora.train_sid_rows else 0,
        batch=arguments.per_device_train_batch_size,
        length=length,
        half=bool(arguments.bf16 or arguments.fp16),
        checkpointing=bool(recipe.sft.trainer.get("gradient_checkpointing", True)),
        optimizer=next((size for part, size in OPTIMIZERS.items() if part in optimizer), ADAMW),
    )
