"""recllm's trainer and TRL's on the same rows, each timed step by step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from recllm.models.tokenizers import train_tokenizer
from recllm.train.activations import activations_fit
from recllm.train.data import row_lengths
from recllm.train.trainer import RecommenderTrainer

#: The first step allocates what the others reuse.
WARM_UP = 1


@dataclass(frozen=True)
class Timed:
    """What a few steps of a trainer took.

    Attributes:
        rate: samples a second.
        losses: of each step.
        mfu: the share of the GPU's peak; 0 elsewhere.
        gigabytes: the most that torch had allocated on the GPU; 0 elsewhere.
    """

    rate: float
    losses: tuple[float, ...]
    mfu: float
    gigabytes: float

    def __str__(self) -> str:
        losses = " ".join(f"{loss:.5f}" for loss in self.losses)
        said = f"{self.rate:.4g} samples/s, losses {losses}"
        return said + (f", MFU {self.mfu:.1%}, {self.gigabytes:.1f} GB" if self.gigabytes else "")


class _Clock(TrainerCallback):
    """When each step ended, on a GPU once its work was done."""

    def __init__(self) -> None:
        self.times = [perf_counter()]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(perf_counter())


def train(
    build: Callable[..., SFTTrainer], model: PreTrainedModel, rows: Dataset, **settings: Any
) -> Timed:
    """Train on the rows once, in their order.

    Args:
        build: `recllm_trainer` or `trl_trainer`.
        settings: of TRL's SFTConfig. Whether recllm checkpoints gradients is decided as its
            stage does it, unless they say.
    """
    on_gpu = torch.cuda.is_available() and not settings.get("use_cpu")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    clock, losses = _Clock(), []
    with TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder,
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
            train_sampling_strategy="sequential",
            num_train_epochs=1,
            learning_rate=1e-4,
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            **settings,
        )
        if build is recllm_trainer and "gradient_checkpointing" not in settings:
            arguments.gradient_checkpointing = not _fit(model, rows, arguments)
        trainer = build(model=model, args=arguments, train_dataset=rows, callbacks=[clock])
        trainer.remove_callback(PrinterCallback)
        step = trainer.training_step

        def recorded(*args: Any, **kwargs: Any) -> torch.Tensor:
            loss = step(*args, **kwargs)
            losses.append(loss)
            return loss

        trainer.training_step = recorded
        trainer.train()
    parts = arguments.gradient_accumulation_steps
    steps = [stop - start for start, stop in zip(clock.times, clock.times[1:], strict=False)]
    seconds = median(steps[WARM_UP:])
    samples = arguments.per_device_train_batch_size * parts
    each = torch.stack(losses).double().view(-1, parts).sum(dim=1).tolist()
    figures: Mapping[str, float] = trainer.state.log_history[-1]
    peak = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else 0.0
    return Timed(samples / seconds, tuple(each), figures.get("mfu", 0.0), peak)


def _fit(model: PreTrainedModel, rows: Dataset, arguments: SFTConfig) -> bool:
    batch, half = arguments.per_device_train_batch_size, bool(arguments.bf16)
    return activations_fit(model, row_lengths(rows), batch, half=half)


def trl_trainer(**given: Any) -> SFTTrainer:
    """TRL's own."""
    return SFTTrainer(processing_class=_tokenizer(), **given)


def recllm_trainer(**given: Any) -> SFTTrainer:
    """recllm's, with the batches that it makes unless told otherwise."""
    given["args"].padding_free = True
    return RecommenderTrainer(processing_class=_tokenizer(), measure=dict, **given)


_tokenizer = partial(train_tokenizer, ["rows are of random tokens"] * 9, 300)
