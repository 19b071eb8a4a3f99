"""The network of SASRec, over packed sequences."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recllm.baselines.sasrec._packing import Packed
from recllm.config.sasrec_section import SasrecSection

#: Standard deviation of the weights at the start.
SPREAD = 0.02


class Network(nn.Module):
    """Items and places to hidden states, whose products with the items' vectors are scores.

    As in the paper: x + Dropout(f(LayerNorm(x))) for f = causal self-attention, then a
    feed-forward layer with ReLU as wide as the rest; LayerNorm at the end; one table of item
    vectors for input and output. Unlike it, there is no dropout on attention weights (with it
    torch leaves its fast kernels), and sequences are not padded: places count from their start.
    """

    def __init__(self, items: int, settings: SasrecSection) -> None:
        super().__init__()
        self.items = nn.Embedding(items, settings.width)
        self.places = nn.Embedding(settings.max_length, settings.width)
        self.dropout = nn.Dropout(settings.dropout)
        self.layers = nn.ModuleList(_Layer(settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.width)
        self.apply(_initialise)

    def forward(self, packed: Packed) -> Tensor:
        """(tokens, width) what is known after each item."""
        hidden = self.dropout(self.items(packed.items) + self.places(packed.positions))
        for layer in self.layers:
            hidden = layer(hidden, packed.groups)
        return self.norm(hidden)


class _Layer(nn.Module):
    def __init__(self, settings: SasrecSection) -> None:
        super().__init__()
        width = settings.width
        self.heads = settings.heads
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_attend, self.attended = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, hidden: Tensor, groups: tuple[tuple[int, int], ...]) -> Tensor:
        attended = self.attended(self._attend(self.attention_norm(hidden), groups))
        hidden = hidden + self.dropout(attended)
        inner = self.dropout(functional.relu(self.inner(self.feed_norm(hidden))))
        return hidden + self.dropout(self.outer(inner))

    def _attend(self, hidden: Tensor, groups: tuple[tuple[int, int], ...]) -> Tensor:
        """Causal attention within each sequence, one call for all sequences of a length."""
        tokens, width = hidden.shape
        sizes = [count * length for count, length in groups]
        parts = self.to_attend(hidden).split(sizes)
        found = []
        for part, (count, length) in zip(parts, groups, strict=True):
            shaped = part.view(count, length, 3, self.heads, width // self.heads)
            query, key, value = shaped.permute(2, 0, 3, 1, 4).unbind(0)
            of_heads = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            found.append(of_heads.transpose(1, 2).reshape(count * length, width))
        return torch.cat(found).view(tokens, width)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Embedding | nn.Linear):
        nn.init.normal_(module.weight, std=SPREAD)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
