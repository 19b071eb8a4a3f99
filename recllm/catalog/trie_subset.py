"""Which items of a trie may be returned, as sorted positions: for each row, or at all."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def count_between(keys: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """How many of `keys`, ascending and each once, lie in [start, end), for each of both."""
    return torch.searchsorted(keys, end) - torch.searchsorted(keys, start)


def are_in(values: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the values are among others: in time for the values, hardly for the others."""
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    place = np.searchsorted(ascending, values)
    return ascending[np.minimum(place, len(ascending) - 1)] == values


@dataclass(frozen=True)
class Subset:
    """For each row, the items that may be returned; made by `Trie.restrict`.

    Attributes:
        keys: the listed items of all groups as `group * items + sorted position`, ascending;
            none that the trie has removed.
        offset: (rows,) `group * items` of each row's group; rows with the same lists share one.
        allow: whether the keys are the only items allowed, or those excluded.
    """

    keys: Tensor
    offset: Tensor
    allow: bool

    def count(self, start: Tensor, end: Tensor) -> Tensor:
        """How many of each row's listed items lie in sorted positions [start, end): (rows, …)."""
        offset = self.offset.view(-1, *(1,) * (start.ndim - 1))
        return count_between(self.keys, offset + start, offset + end)


def may_return(position: Tensor, subset: Subset | None, removed: Tensor | None) -> Tensor:
    """Whether each row may return the items at sorted positions (rows, …)."""
    allowed = torch.ones_like(position, dtype=torch.bool)
    if removed is not None:
        place = position.long()
        allowed = count_between(removed, place, place + 1) == 0
    if subset is not None:
        allowed &= (subset.count(position, position + 1) > 0) == subset.allow
    return allowed
