"""What SASRec is trained on: every item against the next one, or one item against it."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from recllm.catalog.histories import Spans

#: Scores held at a time: what bounds the memory for any number of tokens and items.
CELLS = 1 << 21


class _CrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of hidden @ vectorsᵀ, some tokens at a time.

    The gradients are made while the scores of these tokens are there, so nothing of the size of
    all scores is ever kept, and nothing is computed twice.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, vectors: Tensor, targets: Tensor, dtype: torch.dtype
    ) -> Tensor:
        step = max(1, CELLS // len(vectors))
        total = hidden.new_zeros(())
        of_hidden, of_vectors = torch.empty_like(hidden), torch.zeros_like(vectors)
        vectors = vectors.to(dtype)
        for start in range(0, len(hidden), step):
            rows = slice(start, start + step)
            target, part = targets[rows, None], hidden[rows].to(dtype)
            slopes = part @ vectors.T
            torch.softmax(slopes, dim=1, out=slopes)
            right = slopes.gather(1, target)
            total -= right.float().clamp_min(torch.finfo(torch.float32).tiny).log().sum()
            slopes.scatter_(1, target, right - 1)
            of_hidden[rows] = slopes @ vectors
            of_vectors += slopes.T @ part
        ctx.save_for_backward(of_hidden, of_vectors)
        return total / len(hidden)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        of_hidden, of_vectors = ctx.saved_tensors
        scale = grads[0] / len(of_hidden)
        return of_hidden * scale, of_vectors * scale, None, None


def cross_entropy(
    hidden: Tensor, vectors: Tensor, targets: Tensor, dtype: torch.dtype = torch.float32
) -> Tensor:
    """The mean over tokens of -log softmax(hidden @ vectorsᵀ)[target].

    Args:
        hidden: (tokens, width).
        vectors: (items, width).
        targets: (tokens,) items.
        dtype: of the scores and their gradients; what is summed up is float32.
    """
    return _CrossEntropy.apply(hidden, vectors, targets, dtype)


def binary_cross_entropy(
    hidden: Tensor, vectors: Tensor, targets: Tensor, negatives: Tensor
) -> Tensor:
    """The paper's loss: the mean over tokens of -log σ(s) - log(1 - σ(s')), s' of the negative.

    Args:
        negatives: (tokens,) an item for each target; the rest as of `cross_entropy`.
    """
    positive = (hidden * functional.embedding(targets, vectors)).sum(dim=1)
    negative = (hidden * functional.embedding(negatives, vectors)).sum(dim=1)
    return (functional.softplus(-positive) + functional.softplus(negative)).mean()


class Negatives:
    """Draws items that a sequence does not have, each with the same probability."""

    def __init__(self, sequences: Spans, items: int) -> None:
        owner, item = sequences.flatten()
        members = np.unique(owner * items + item)
        owners = members // items
        self._items = items
        self._known = np.bincount(owners, minlength=len(sequences))
        first = np.cumsum(self._known) - self._known
        # Of the r-th member m, m - r items that are no members stand before it.
        self._before = members - (np.arange(len(members)) - first[owners])
        self._first = first

    @property
    def fewest(self) -> int:
        """How many items there are to draw from for the sequence that has the most."""
        return self._items - int(self._known.max(initial=0))

    def draw(
        self, sequences: NDArray[np.int64], generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """(tokens,) an item for each token of these sequences."""
        place = generator.integers(0, self._items - self._known[sequences])
        passed = np.searchsorted(self._before, sequences * self._items + place, side="right")
        return place + passed - self._first[sequences]
