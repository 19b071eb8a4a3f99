"""The loss, from the head on the supervised positions alone.

Few tokens of a training row are answers, and the head of a small model costs more than its body:
logits of the prompt would be most of the work, and are never looked at.
"""

from collections.abc import Sequence
from functools import wraps
from types import MethodType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from recllm.decoding.scoring import LOGITS_BYTES, Head
from recllm.prompts.training import IGNORED

#: What a configuration calls a change of the logits after the head, by architecture.
LOGIT_CHANGES = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
    "output_multiplier",
)


class Loss(Protocol):
    """The summed loss of some positions."""

    def __call__(self, model: PreTrainedModel, hidden: Tensor, labels: Tensor) -> Tensor:
        """A scalar in fp32.

        Args:
            model: whose head is used.
            hidden: (targets, hidden size) last hidden states.
            labels: (targets,) token ids.
        """
        ...


def add_loss(model: PreTrainedModel, loss: Loss) -> None:
    """Let `model(…, labels=…, supervised_only=True)` return its summed loss, without logits.

    The call returns `loss`, the sum over the positions whose next label is not -100, and `count`,
    how many these are. It is a part of the model's own forward, since what wraps a model for
    several processes (DDP, FSDP, DeepSpeed) hooks into that. Without `supervised_only` the forward
    is what it was.

    Args:
        model: the base model, where it is inside a PEFT model.
    """
    original = model.forward

    @wraps(type(model).forward)
    def forward(
        self: PreTrainedModel, *args: Any, supervised_only: bool = False, **inputs: Any
    ) -> Any:
        if not supervised_only:
            return original(*args, **inputs)
        labels = inputs.pop("labels")[:, 1:]
        decoder: Any = self.get_decoder()
        hidden = decoder(*args, **inputs, use_cache=False).last_hidden_state[:, :-1]
        supervised = labels != IGNORED
        total = loss(self, hidden[supervised], labels[supervised])
        return {"loss": total, "count": supervised.sum()}

    model.forward = MethodType(forward, model)


class VocabLoss:
    """Cross-entropy over the whole vocabulary."""

    def __init__(self, logits_bytes: int = LOGITS_BYTES) -> None:
        """Set the memory that logits may take at a time; the loss does not depend on it."""
        self.logits_bytes = logits_bytes

    def __call__(self, model: PreTrainedModel, hidden: Tensor, labels: Tensor) -> Tensor:
        """See `Loss`."""
        # The module rather than its weight: hooks gather it there where processes share it, and a
        # PEFT adapter adds what it trains.
        head: Any = model.get_output_embeddings()
        vocabulary = model.config.get_text_config().vocab_size
        targets = max(1, self.logits_bytes // (4 * vocabulary))
        if len(hidden) <= targets:
            return _cross_entropy(head, hidden, labels)
        total = hidden.new_zeros((), dtype=torch.float32)
        for part in zip(hidden.split(targets), labels.split(targets), strict=True):
            total = total + checkpoint(_cross_entropy, head, *part, use_reentrant=False)
        return total


class LevelLoss:
    """Cross-entropy of SID tokens among the codes of their level; other labels use all tokens."""

    def __init__(self, level_tokens: Sequence[Tensor]) -> None:
        """Set for each level of the SIDs its token ids."""
        self.level_tokens = level_tokens

    def __call__(self, model: PreTrainedModel, hidden: Tensor, labels: Tensor) -> Tensor:
        """See `Loss`. Logits are computed in fp32 under autocast too, as they are in decoding."""
        total = hidden.new_zeros((), dtype=torch.float32)
        other = torch.ones_like(labels, dtype=torch.bool)
        with torch.autocast(hidden.device.type, enabled=False):
            for level in self.level_tokens:
                tokens = level.to(labels.device)
                matches = labels[:, None] == tokens[None, :]
                here = matches.any(dim=1)
                target = matches[here].int().argmax(dim=1)
                logits = _logits(model, hidden[here], tokens)
                total = total + F.cross_entropy(logits, target, reduction="sum")
                other &= ~here
        if other.any():
            total = total + VocabLoss()(model, hidden[other], labels[other])
        return total


def _cross_entropy(head: nn.Module, hidden: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(head(hidden).float(), labels, reduction="sum")


def _logits(model: PreTrainedModel, hidden: Tensor, tokens: Tensor) -> Tensor:
    """The logits of some tokens in fp32, from their rows of the head alone where these are here."""
    head: Any = model.get_output_embeddings()
    if isinstance(head.weight, DTensor) or hasattr(head.weight, "ds_id"):  # FSDP2, ZeRO-3
        return head(hidden.to(head.weight.dtype))[:, tokens].float()
    return Head.of(model).logits(hidden, tokens)


def changed_logits(model: PreTrainedModel) -> str | None:
    """The setting of a model whose logits are not its head's output; None where they are."""
    config = model.config.get_text_config()
    neutral = {None, 1.0}
    return next(
        (name for name in LOGIT_CHANGES if getattr(config, name, None) not in neutral), None
    )
