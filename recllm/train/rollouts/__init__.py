"""Rollouts: each draws the items of a group for every prompt, and says how rewards weigh on them.

A new rollout is one file here. The objective that its advantages belong to is in its docstring.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recllm.config.registry import Plugin

if TYPE_CHECKING:  # recipes are checked without torch
    from torch import Tensor

    from recllm.catalog.histories import History
    from recllm.decoding.engine import TreeDecoder


@dataclass(frozen=True)
class Drawn:
    """The items of some groups, one group a prompt, on the decoder's device.

    Attributes:
        items: (groups, generations) int64 dense indices, best first by the rollout's own score, no
            two the same; -1 where fewer are eligible. An added target that was not drawn is last.
        log_inclusion: (groups, generations) log of the probability that the item is in the draw;
            0 for an added target. None where items are not weighted by it.
    """

    items: Tensor
    log_inclusion: Tensor | None = None


class Rollout(Plugin):
    """Base of the rollouts. Subclasses are one file each and take their options as fields."""

    #: Whether the target is always in its group, if its row may return it: in place of another
    #: item where it is not drawn.
    add_target: bool = False
    #: Whether its advantages depend on how probable the policy finds the items.
    weighs_by_policy: ClassVar[bool] = False

    @abstractmethod
    def draw(
        self,
        decoder: TreeDecoder,
        prompts: Sequence[Sequence[int]],
        targets: Tensor,
        *,
        generations: int,
        seeds: Tensor,
        exclude: Sequence[History] | None = None,
        only: Sequence[History] | None = None,
    ) -> Drawn:
        """Distinct eligible items for each prompt, from one prefill of it.

        Args:
            decoder: has the model, the trie and the scoring.
            prompts: token ids of each row, without padding.
            targets: (groups,) dense item that followed in the log.
            generations: items of a group.
            seeds: (groups,) int64 of each row, as `row_seeds` makes them; what a row draws depends
                on its own alone, not on the batch that it is in. Unused where nothing is random.
            exclude: for each row, items that are not to be returned.
            only: for each row, the items that may be returned.

        Raises:
            UserError: a prompt is empty or too long, or `exclude` or `only` do not fit.
        """

    def advantages(
        self, rewards: Tensor, log_probs: Tensor, drawn: Drawn, *, scale: bool
    ) -> Tensor:
        """What the log-probability of each item is multiplied by; here (R - mean) / std.

        The gradient of the objective is that of the mean, over all groups and generations, of
        advantage times summed log-probability of the item's tokens. A group's advantages depend
        on no other group, and are 0 where its rewards are equal.

        Args:
            rewards: (groups, generations).
            log_probs: (groups, generations) summed log-probability of each item's tokens under the
                policy that has drawn them.
            drawn: what `draw` returned.
            scale: whether rewards are divided by their standard deviation within the group.

        Returns:
            (groups, generations) in the dtype of `log_probs`, without gradient; 0 where no item is.
        """
        from recllm.train.rollouts._groups import centred

        return centred(rewards, drawn.items, scale=scale).to(log_probs)
