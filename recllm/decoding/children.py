"""How paths through the trie may go on, and the model's probability of each way."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recllm.catalog.trie import Subset, Trie
from recllm.decoding.scoring import (
    Head,
    Scoring,
    log_probs_over_allowed,
    log_probs_over_level,
    log_probs_over_vocab,
)


@dataclass(frozen=True)
class Children:
    """The children of some nodes of one level, in path order.

    Attributes:
        nodes: (…, width) the children, padded to the most that one of the nodes has.
        allowed: (…, width) whether there is such a child, with an eligible item below it.
        symbols: (…, width) indices into `tokens`; arbitrary where padded.
        tokens: (codes,) the token ids of their level.
    """

    nodes: Tensor
    allowed: Tensor
    symbols: Tensor
    tokens: Tensor

    @classmethod
    def of(cls, trie: Trie, nodes: Tensor, level: int, subset: Subset | None) -> "Children":
        """Those of `nodes` (rows, …), which `level` tokens lead to."""
        tokens = trie.alphabets[level]
        children, allowed = trie.children(nodes)
        if subset is not None or trie.removed is not None:
            allowed &= trie.eligible(children, subset)
        # Padding may have a symbol of another level, beyond this one's alphabet.
        symbols = trie.child_symbols(children).clamp_(max=len(tokens) - 1)
        return cls(children, allowed, symbols, tokens)

    def log_probs(self, hidden: Tensor, head: Head, scoring: Scoring) -> Tensor:
        """log p of each child after `hidden` (…, hidden size): (…, width) fp32."""
        if scoring == "trie":
            return self.log_probs_over_siblings(hidden, head)
        over = log_probs_over_vocab if scoring == "vocab" else log_probs_over_level
        return over(hidden, head, self.tokens).gather(-1, self.symbols)

    def log_probs_over_siblings(
        self, hidden: Tensor, head: Head, temperature: float = 1.0
    ) -> Tensor:
        """log p of each child among those allowed; the logits are divided by `temperature`."""
        logits = head.logits(hidden, self.tokens).gather(-1, self.symbols)
        return log_probs_over_allowed(logits / temperature, self.allowed)

    def allowed_tokens(self) -> Tensor:
        """(…, codes): which tokens of the level lead to an allowed child."""
        shape = (*self.allowed.shape[:-1], len(self.tokens))
        counts = torch.zeros(shape, dtype=torch.int32, device=self.allowed.device)
        # Added up, since padding may name the token of a child that is allowed.
        return counts.scatter_add_(-1, self.symbols, self.allowed.int()) > 0


def check_numbers(scores: Tensor, level: int) -> None:
    """Refuse what a broken model computes.

    Raises:
        RuntimeError: a score is NaN.
    """
    if bool(scores.isnan().any()):
        raise RuntimeError(
            f"the model computes NaN at item token {level + 1}; its weights are broken, or "
            "its activations overflow (float16? use bfloat16 or float32)"
        )


def of_level(nodes: Tensor, alive: Tensor, trie: Trie, level: int) -> Tensor:
    """`nodes` of a level, the root's being 0, with any of that level where there is no path.

    What is there is padding otherwise, maybe of another depth.
    """
    return nodes.masked_fill(~alive, trie.level_start[level])
