"""Groups: a prompt, the items that were rolled out for it, and what they are worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recllm.rewards import Groups
from recllm.train.rl_rows import RlRows
from recllm.train.rollouts import Drawn

#: Rewards of a group that differ by no more than this are equal: there is nothing to learn from.
EQUAL = 1e-8


@dataclass(frozen=True)
class GroupBatch:
    """Some prompts, each with its rollout.

    Attributes:
        rows: the prompts.
        drawn: the items of each, and with which probability they were drawn.
        rewards: (groups, items) their weighted sum.
        parts: the same of each reward, before its weight.
    """

    rows: RlRows
    drawn: Drawn
    rewards: NDArray[np.float64]
    parts: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def exists(self) -> NDArray[np.bool_]:
        """(groups, items): whether there is an item; a small catalogue may not have enough."""
        return self.drawn.items.cpu().numpy() >= 0

    @property
    def silent(self) -> NDArray[np.bool_]:
        """(groups,): whether all items of a group have the same reward."""
        exists = self.exists
        highest = np.where(exists, self.rewards, -np.inf).max(axis=1)
        lowest = np.where(exists, self.rewards, np.inf).min(axis=1)
        return ~(highest - lowest > EQUAL)

    @property
    def hits(self) -> NDArray[np.bool_]:
        """(groups,): whether the target is among the items."""
        items = self.drawn.items.cpu().numpy()
        return (self.exists & (items == self.rows.targets[:, None])).any(axis=1)

    def replaced(self, places: Sequence[int], other: "GroupBatch") -> "GroupBatch":
        """These groups with those of `other` in some places."""
        index = np.arange(len(self))
        index[np.asarray(places, dtype=np.int64)] = len(self) + np.arange(len(other))
        joined = GroupBatch(
            rows=_join_rows(self.rows, other.rows),
            drawn=_join_drawn(self.drawn, other.drawn),
            rewards=np.concatenate([self.rewards, other.rewards]),
            parts={n: np.concatenate([p, other.parts[n]]) for n, p in self.parts.items()},
        )
        return joined.select(index)

    def select(self, index: NDArray[np.int64]) -> "GroupBatch":
        """The groups at `index`."""
        places = torch.from_numpy(index).to(self.drawn.items.device)
        return GroupBatch(
            rows=self.rows.select(index),
            drawn=_map_drawn(self.drawn, lambda values: values[places]),
            rewards=self.rewards[index],
            parts={name: part[index] for name, part in self.parts.items()},
        )


def seen_by_rewards(rows: RlRows, drawn: Drawn) -> Groups:
    """What rewards see of some rollouts."""
    items = drawn.items.cpu().numpy().astype(np.int32)
    return Groups(rows=rows.rows, histories=rows.histories, targets=rows.targets, items=items)


@dataclass(frozen=True)
class MicroBatch:
    """Whole groups of one small step, as tensors.

    Attributes:
        rows: the prompts.
        items: (groups, items) int64; -1 where there is none.
        advantages: (groups, items) fp32; 0 there.
        old: (groups, items, tokens) log-probabilities at the time of the rollout; None where the
            model is still the same.
        reference: the same, by the reference; None where there is none.
        tokens: in all groups of the rollout, over all processes.
    """

    rows: RlRows
    items: Tensor
    advantages: Tensor
    old: Tensor | None
    reference: Tensor | None
    tokens: Tensor

    @property
    def idle(self) -> Tensor:
        """(groups,): whether a group's log-probabilities do not change the loss.

        So it is where all its advantages are 0 and nothing else is compared with them.
        """
        nothing = (self.advantages == 0).all(dim=1)
        is_compared = self.old is not None or self.reference is not None
        return torch.zeros_like(nothing) if is_compared else nothing

    def split(self, parts: int) -> list["MicroBatch"]:
        """Parts of equally many whole groups.

        Raises:
            ValueError: the groups cannot be split so.
        """
        if len(self.rows) % parts:
            raise ValueError(f"{len(self.rows)} groups cannot be split into {parts} equal parts")
        places = np.split(np.arange(len(self.rows)), parts)
        return [self._part(place) for place in places]

    def _part(self, places: NDArray[np.int64]) -> "MicroBatch":
        here = slice(int(places[0]), int(places[-1]) + 1)
        names = ("items", "advantages", "old", "reference")
        values: dict[str, Any] = {name: getattr(self, name) for name in names}
        parts = {name: None if v is None else v[here] for name, v in values.items()}
        return replace(self, rows=self.rows.select(places), **parts)


def _join_rows(first: RlRows, second: RlRows) -> RlRows:
    return RlRows(
        [*first.prompts, *second.prompts],
        np.concatenate([first.targets, second.targets]),
        np.concatenate([first.rows, second.rows]),
        [*first.histories, *second.histories],
    )


def _join_drawn(first: Drawn, second: Drawn) -> Drawn:
    inclusion = None
    if first.log_inclusion is not None and second.log_inclusion is not None:
        inclusion = torch.cat([first.log_inclusion, second.log_inclusion])
    return Drawn(torch.cat([first.items, second.items]), inclusion)


def _map_drawn(drawn: Drawn, change: Any) -> Drawn:
    inclusion = drawn.log_inclusion
    return Drawn(change(drawn.items), None if inclusion is None else change(inclusion))
