"""The rollout `sample`: constrained sampling at a temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from recllm.train.rollouts import Drawn, Rollout

if TYPE_CHECKING:
    from torch import Tensor

    from recllm.catalog.histories import History
    from recllm.decoding.engine import TreeDecoder


class ConstrainedSampling(Rollout):
    """Items drawn without replacement, with group-relative advantages.

    Drawn one after another from the policy at a temperature, over the row's eligible items, each
    at most once. Like GRPO's samples they are not weighted; but since none is drawn twice, the
    probable items count for less than in an expectation: `sbs` corrects for that.
    """

    #: What logits are divided by; more draws more evenly.
    temperature: float = Field(default=1.0, gt=0)

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
        """See the base class."""
        from recllm.train.rollouts._groups import sampled_items

        sample = sampled_items(
            decoder,
            prompts,
            targets if self.add_target else None,
            generations=generations,
            seeds=seeds,
            temperature=self.temperature,
            exclude=exclude,
            only=only,
        )
        return Drawn(sample.items)
