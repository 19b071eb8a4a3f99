"""Sequences of different lengths as one run of tokens, without padding."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recllm.catalog.histories import Spans


@dataclass(frozen=True)
class Packed:
    """Sequences laid end to end, ordered by their length.

    Those of one length stand together, so that a slice of the tokens can be seen as an array of
    sequences × positions.

    Attributes:
        items: (tokens,) int64.
        positions: (tokens,) int64, the place of each within its sequence, from 0.
        groups: how many sequences there are of which length, in the order of the tokens.
    """

    items: Tensor
    positions: Tensor
    groups: tuple[tuple[int, int], ...]

    @classmethod
    def pack(cls, spans: Spans, device: torch.device) -> "Packed":
        """Pack spans that are ordered by length, each of at least one item."""
        lengths = spans.lengths
        counts = np.unique(lengths, return_counts=True)
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        return cls(
            items=to_tensor(spans.flatten()[1], device),
            positions=to_tensor(np.arange(len(starts)) - starts, device),
            groups=tuple((int(count), int(length)) for length, count in zip(*counts, strict=True)),
        )


def by_length(spans: Spans) -> NDArray[np.int64]:
    """The order of the spans by length; equal ones stay in their order."""
    return np.argsort(spans.lengths, kind="stable")


def to_tensor(values: NDArray[np.integer], device: torch.device) -> Tensor:
    """The numbers as int64."""
    return torch.from_numpy(values.astype(np.int64)).to(device)
