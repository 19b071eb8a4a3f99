"""TRL's SFTTrainer, with validation by the decoding engine and a loss over SID levels."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from trl import SFTTrainer

from recllm.decoding.scoring import Head
from recllm.errors import UserError
from recllm.prompts.training import IGNORED


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
        if self.level_loss is not None and self.accelerator.num_processes > 1:
            raise UserError("sft.loss: level runs in one process; set sft.loss: vocab for several")

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
        total, count = self.level_loss(
            self.accelerator.unwrap_model(model), inputs, self.accelerator.autocast
        )
        loss = total / (count if num_items_in_batch is None else num_items_in_batch)
        return (loss, None) if return_outputs else loss

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Nothing here: a card belongs to what is pushed, not to each checkpoint."""


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
