"""The rollout `beam`: the best items, found by beam search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recllm.train.rollouts import Drawn, Rollout

if TYPE_CHECKING:
    from torch import Tensor

    from recllm.catalog.histories import History
    from recllm.decoding.engine import TreeDecoder


class Beam(Rollout):
    """The items of beam search, with group-relative advantages.

    A surrogate: the items are not drawn from the policy, so that its gradient is that of no
    expectation. It raises the probability of the items that are better than their beam.
    """

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
        """See the base class; nothing is random."""
        from recllm.train.rollouts._groups import beam_items

        del seeds
        target = targets if self.add_target else None
        items = beam_items(
            decoder, prompts, target, generations=generations, exclude=exclude, only=only
        )
        return Drawn(items)
