"""Log-probabilities of a few rows of the head, in fp32, under the three normalisations."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from recllm.errors import UserError

#: Bytes that the fp32 logits of one part of a batch may take while they are trained; further
#: parts are computed twice instead.
LOGITS_BYTES = 2**29
#: Rows of the head that a GPU scores at once where no gradient is needed.
LOGITS_CHUNK = 8192
#: What a token's probability is normalised over: the whole vocabulary, the tokens of its level,
#: or the tokens that the trie allows.
Scoring = Literal["vocab", "level", "trie"]
SCORINGS: tuple[str, ...] = get_args(Scoring)


@dataclass(frozen=True)
class Head:
    """The output layer of a language model: weight (vocabulary, hidden) and bias, if any."""

    weight: Tensor
    bias: Tensor | None = None

    @classmethod
    def of(cls, model: Any) -> "Head":
        """The head of `model`, with the rows that a PEFT adapter trains merged in.

        Raises:
            UserError: the head is not a linear layer, or carries an adapter of its own.
        """
        module = model.get_output_embeddings()
        weight = getattr(module, "weight", None)
        if weight is None or weight.ndim != 2 or hasattr(module, "base_layer"):
            raise UserError(
                f"expected a linear head, found {type(module).__name__}; "
                "merge its adapter (merge_and_unload), or decode with generate"
            )
        return cls(weight, getattr(module, "bias", None))

    def to(self, device: torch.device, dtype: torch.dtype) -> "Head":
        """This head elsewhere, or in another precision."""
        bias = None if self.bias is None else self.bias.to(device, dtype)
        return Head(self.weight.to(device, dtype), bias)

    def logits(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """The logits of some rows in fp32, also where the model is not: (…, hidden) -> (…, rows).

        The logits of a bf16 model would be rounded to steps of 0.1, and many beams would tie. So
        autocast is off here.
        """
        bias = None if self.bias is None else self.bias[rows].float()
        with torch.autocast(hidden.device.type, enabled=False):
            return F.linear(hidden.float(), self.weight[rows].float(), bias)


def log_probs_over_vocab(
    hidden: Tensor, head: Head, rows: Tensor, chunk: int | None = None
) -> Tensor:
    """log p of the tokens `rows` under the softmax over the whole vocabulary.

    Args:
        hidden: (…, hidden size) last hidden states.
        head: the output layer.
        rows: (n,) distinct token ids.
        chunk: how many other rows of the head are scored at once; by default what suits the
            device.

    Returns:
        (…, n) fp32.
    """
    logits = head.logits(hidden, rows)
    total = logits.logsumexp(-1)
    # The other rows: those of `rows` are in the total already, at full precision.
    hidden, vocabulary = hidden.to(head.weight.dtype), len(head.weight)
    bias = head.weight.new_zeros(vocabulary) if head.bias is None else head.bias
    # Not -inf: a chunk of nothing else would have no gradient.
    bias = bias.index_fill(0, rows, torch.finfo(bias.dtype).min / 2)
    # On a CPU what its caches hold: half the time of larger chunks.
    chunk = chunk or (LOGITS_CHUNK if hidden.is_cuda else LOGITS_CHUNK // 8)
    for start in range(0, vocabulary, chunk):
        part = slice(start, start + chunk)
        others = F.linear(hidden, head.weight[part], bias[part]).float()
        total = torch.logaddexp(total, others.logsumexp(-1))
    return logits - total.unsqueeze(-1)


def log_probs_in_training(
    hidden: Tensor, head: Head, rows: Tensor, logits_bytes: int = LOGITS_BYTES
) -> Tensor:
    """As `log_probs_over_vocab`, with the backward pass in mind.

    Parts of `hidden` are computed twice where all their logits would not fit into memory, and the
    head is used as a whole: the gradient of every slice of it would be as large as the head.

    Args:
        hidden: (n, hidden size).
        head: the output layer.
        rows: (k,) distinct token ids.
        logits_bytes: what the logits of one part may take.

    Returns:
        (n, k) fp32.
    """
    size = max(1, logits_bytes // (4 * len(head.weight)))
    if len(hidden) <= size:
        return _log_probs(hidden, head, rows)
    parts = [
        checkpoint(_log_probs, part, head, rows, use_reentrant=False) for part in hidden.split(size)
    ]
    return torch.cat(parts)


def _log_probs(hidden: Tensor, head: Head, rows: Tensor) -> Tensor:
    every = F.linear(hidden.to(head.weight.dtype), head.weight, head.bias)
    if every.dtype == torch.float32:
        logits = every[:, rows]
    else:
        logits = head.logits(hidden, rows)
        every = every.float().index_copy(-1, rows, logits)
    return logits - every.logsumexp(-1, keepdim=True)


def log_probs_over_level(hidden: Tensor, head: Head, rows: Tensor) -> Tensor:
    """log p of the tokens `rows` under the softmax over these tokens alone: (…, n) fp32."""
    return head.logits(hidden, rows).log_softmax(-1)


def log_probs_over_allowed(logits: Tensor, allowed: Tensor) -> Tensor:
    """log p under the softmax over the allowed entries of the last dimension; -inf elsewhere."""
    logits = logits.masked_fill(~allowed, -torch.inf)
    # Where nothing is allowed, the softmax is not a number.
    return logits.log_softmax(-1).masked_fill(~allowed, -torch.inf)
