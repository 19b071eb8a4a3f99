"""TRL's SFTTrainer, with validation by the decoding engine and a loss over SID levels."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from trl import SFTTrainer

from recllm.decoding.scoring import Head
from recllm.errors import UserError
from recllm.prompts.training import IGNORED
from recllm.train.batches import GlobalBatches, row_lengths
from recllm.train.strategy import is_sharded


class RecommenderTrainer(SFTTrainer):
    """Measures ranking metrics instead of a loss on the validation rows.

    Args:
        measure: called at each evaluation; returns metrics by name.
        level_tokens: for each level its token ids. Where given, the loss of a SID token is
            normalised over the codes of its level instead of the whole vocabulary.
    """

    def __init__(
        self,
        *args: Any,
        measure: Callable[[], dict[str, float]],
        level_tokens: Sequence[torch.Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.measure = measure
        self.level_loss = None if level_tokens is None else LevelLoss(level_tokens)
        if self.level_loss is not None and is_sharded(self.accelerator):
            raise UserError(
                "sft.loss: level reads the whole head, of which each process has but a part under "
                "ZeRO-3 and FSDP2; set sft.loss: vocab, or train with ddp or zero2"
            )

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Rank the validation sample; metrics are logged as `eval_hit@10` and so on."""
        metrics = {f"eval_{name}": value for name, value in self.measure().items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """TRL's own loss, or the mean of the level-normalised loss over the batch's targets."""
        if self.level_loss is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        unwrapped: Any = self.accelerator.unwrap_model(model)
        loss_of = partial(self.level_loss, unwrapped, inputs, self.accelerator.autocast)
        total, count = _as_forward(model, unwrapped, inputs, loss_of)
        loss = total / (count if num_items_in_batch is None else num_items_in_batch)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # It counts the targets of all processes, and their gradients are averaged.
            loss = loss * self.accelerator.num_processes
        return (loss, None) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        by_length = self.args.train_sampling_strategy == "group_by_length"
        if not by_length and self.args.train_sampling_strategy != "random":
            return super()._get_train_sampler(train_dataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return GlobalBatches(
            len(rows),
            self._train_batch_size,
            rank=self.args.process_index,
            processes=self.args.world_size,
            seed=seed,
            epoch=lambda: int(self.state.epoch or 0),
            lengths=row_lengths(rows) if by_length else None,
            group=self.args.gradient_accumulation_steps,
            drop_last=self.args.dataloader_drop_last,
        )

    def _save_rng_state(self, output_dir: str) -> None:
        """As it was; then wait, since the file that makes a checkpoint whole is written next."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Nothing here: a card belongs to what is pushed, not to each checkpoint."""


def _as_forward(
    wrapper: nn.Module, model: nn.Module, inputs: dict[str, Any], compute: Callable[[], Any]
) -> Any:
    """What `compute` returns, run as the forward pass of `model` inside of what wraps it.

    DDP and DeepSpeed average gradients of what goes through their own forward pass alone.
    """
    if wrapper is model:
        return compute()
    forward = model.forward

    def run(**_: Any) -> Any:
        model.forward = forward
        return compute()

    model.forward = run
    return wrapper(**inputs)


class LevelLoss:
    """Cross-entropy of SID tokens among the codes of their level; other labels use all tokens."""

    def __init__(self, level_tokens: Sequence[torch.Tensor] | torch.Tensor) -> None:
        self.level_tokens = level_tokens

    def __call__(
        self,
        model: PreTrainedModel,
        inputs: dict[str, torch.Tensor],
        autocast: Callable[..., AbstractContextManager[Any]] = nullcontext,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The summed loss and how many tokens it is the sum over.

        Args:
            autocast: around the decoder. The logits are computed in fp32 also where it runs in
                less, as they are in decoding.
        """
        with autocast():
            hidden = model.get_decoder()(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                use_cache=False,
            ).last_hidden_state
        labels = inputs["labels"][:, 1:]
        supervised = labels != IGNORED
        hidden, labels = hidden[:, :-1][supervised], labels[supervised]
        head = Head.of(model)
        total = hidden.new_zeros((), dtype=torch.float32)
        other = torch.ones_like(labels, dtype=torch.bool)
        for level in self.level_tokens:
            tokens = level.to(labels.device)
            matches = labels[:, None] == tokens[None, :]
            here = matches.any(dim=1)
            logits = head.logits(hidden[here], tokens)
            target = matches[here].int().argmax(dim=1)
            total = total + nn.functional.cross_entropy(logits, target, reduction="sum")
            other &= ~here
        if other.any():
            bias = None if head.bias is None else head.bias.float()
            logits = nn.functional.linear(hidden[other].float(), head.weight.float(), bias)
            total = total + nn.functional.cross_entropy(logits, labels[other], reduction="sum")
        return total, supervised.sum()
