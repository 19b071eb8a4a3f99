"""Where the time of a training step goes: the layers, the head with its loss, the optimizer."""

from collections.abc import Callable
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel
from trl.kernels import ChunkedLogProbFunction
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from benchmarks._harness import median_seconds
from recllm.prompts.training import IGNORED
from recllm.train.padding_free import PADDED_ATTENTION, attention
from recllm.train.supervised_loss import VocabLoss


def layers_seconds(model: PreTrainedModel, rows: Dataset, padding_free: bool) -> float:
    """Forward and backward of everything below the head, for one batch of all the rows."""
    batch = DataCollatorForLanguageModeling(0, padding_free=padding_free)([*rows])
    del batch["labels"]
    decoder: Any = model.get_decoder()

    def run() -> None:
        model.zero_grad(set_to_none=True)
        decoder(**batch, use_cache=False).last_hidden_state.sum().backward()

    own: Any = model.config._attn_implementation
    with attention(model, PADDED_ATTENTION if padding_free else own):
        return median_seconds(run)


def head_seconds(model: PreTrainedModel, rows: Dataset, *, supervised_only: bool) -> float:
    """Forward and backward of the head and the loss, ours or as TRL has them on a CPU."""
    labels = DataCollatorForLanguageModeling(0)([*rows])["labels"][:, 1:].flatten()
    if supervised_only:
        labels = labels[labels != IGNORED]
    hidden = torch.randn(len(labels), model.config.hidden_size, requires_grad=True)

    def trl_loss() -> Tensor:
        head: Any = model.get_output_embeddings()
        log_probs, *_ = ChunkedLogProbFunction.apply(
            hidden, head.weight, None, labels.clamp(min=0), 1.0, 2**15, None, 1.0,
            ("log_probs", "entropy", "is_top1"),
        )  # fmt: skip
        return -(log_probs * (labels != IGNORED)).sum()

    loss: Callable[[], Tensor] = trl_loss
    if supervised_only:
        loss = lambda: VocabLoss()(model, hidden, labels)  # noqa: E731

    def run() -> None:
        model.zero_grad(set_to_none=True)
        loss().backward()

    return median_seconds(run)


def optimizer_seconds(model: PreTrainedModel) -> float:
    """One step of the optimizer that both have by default, with the clipping before it."""
    parameters = [*model.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, fused=True)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)

    def run() -> None:
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return median_seconds(run)
