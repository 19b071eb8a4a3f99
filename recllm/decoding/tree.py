"""A tree of tokens that grows on one KV cache, and the beams that walk it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from recllm.decoding.batching import pad_prompts


def select_best(scores: Tensor, count: int) -> Tensor:
    """The `count` best of each row, in their own order; of equals the first are taken.

    Args:
        scores: (rows, n), without NaN.
        count: how many to take; all n where there are fewer.

    Returns:
        (rows, min(count, n)) indices, ascending.
    """
    rows, candidates = scores.shape
    count = min(count, candidates)
    threshold = scores.topk(count, dim=-1).values[:, -1:]
    above = scores > threshold
    ties = scores == threshold
    wanted = count - above.sum(-1, keepdim=True)
    taken = above | (ties & (ties.cumsum(-1) <= wanted))
    return taken.nonzero()[:, 1].view(rows, count)


def attention_mask(visible: Tensor, *, boolean: bool) -> Tensor:
    """What a decoder takes to tell which tokens see which.

    Args:
        visible: (rows, n, m) whether each of n tokens sees each of m.
        boolean: whether attention takes it as it is (sdpa).

    Returns:
        (rows, 1, n, m): boolean, or fp32 to be added for eager attention.
    """
    visible = visible.unsqueeze(1)
    if boolean:
        return visible
    return torch.zeros(visible.shape, device=visible.device).masked_fill(~visible, -torch.inf)


@dataclass(frozen=True)
class Beams:
    """The paths kept so far, in the order of their trie nodes.

    Attributes:
        nodes: (rows, width) trie nodes.
        scores: (rows, width) summed log-probabilities; -inf where there is no path.
    """

    nodes: Tensor
    scores: Tensor

    @property
    def alive(self) -> Tensor:
        """(rows, width): whether there is a path."""
        return self.scores > -torch.inf

    def take(self, index: Tensor) -> "Beams":
        """The beams at `index` (rows, n)."""
        return Beams(self.nodes.gather(1, index), self.scores.gather(1, index))


class TokenTree:
    """The hidden states of prompts and of the beams that continue them.

    Every prompt is run once. Later tokens are appended to the same cache, all those of a level
    at one position, under a mask by which a token sees its prompt, its ancestors and itself. So
    the cache is neither copied nor reordered.

    Tree attention: SpecInfer, https://arxiv.org/abs/2305.09781.
    """

    def __init__(
        self, decoder: Any, prompts: Sequence[Sequence[int]], *, boolean_mask: bool
    ) -> None:
        self._decoder = decoder
        self._boolean_mask = boolean_mask
        device = next(decoder.parameters()).device
        tokens, self._lengths = pad_prompts(prompts, device)
        # Without a config the cache keeps every token, also of layers with a sliding window.
        self._cache = DynamicCache()
        states = decoder(input_ids=tokens, past_key_values=self._cache, use_cache=True)
        last = (self._lengths - 1).view(-1, 1, 1).expand(-1, 1, states.last_hidden_state.shape[-1])
        #: (rows, beams, hidden size), of the newest tokens.
        self.hidden: Tensor = states.last_hidden_state.gather(1, last)
        self._level = 0
        # (rows, beams, cache length): what the newest tokens see; at first, the prompt.
        places = torch.arange(tokens.shape[1], device=device)
        self._visible = (places < self._lengths[:, None]).unsqueeze(1)

    def append(self, tokens: Tensor, parents: Tensor) -> None:
        """Run the tokens (rows, n) that follow the newest tokens at `parents` (rows, n)."""
        rows, width = tokens.shape
        index = parents.unsqueeze(-1).expand(-1, -1, self._visible.shape[-1])
        itself = torch.eye(width, dtype=torch.bool, device=tokens.device).expand(rows, -1, -1)
        self._visible = torch.cat([self._visible.gather(1, index), itself], dim=-1)
        states = self._decoder(
            input_ids=tokens,
            attention_mask=attention_mask(self._visible, boolean=self._boolean_mask),
            position_ids=(self._lengths + self._level).unsqueeze(1).expand(-1, width),
            past_key_values=self._cache,
            use_cache=True,
        )
        self.hidden = states.last_hidden_state
        self._level += 1
