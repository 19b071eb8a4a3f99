"""The rollout `sbs`: stochastic beam search, weighted by inclusion probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from recllm.train.rollouts import Drawn, Rollout

if TYPE_CHECKING:
    from torch import Tensor

    from recllm.catalog.histories import History
    from recllm.decoding.engine import TreeDecoder


class StochasticBeamSearch(Rollout):
    """Items drawn without replacement, weighted so that the gradient is that of an expectation.

    The objective is the expected reward under the policy renormalised over the row's eligible
    items. Of G items drawn (see `recllm.decoding.stochastic`), item i has the weight
    w = p / inclusion probability: p under the policy and the run's scoring, the inclusion
    probability under the proposal, given the threshold of the draw. The sum of w R over the group
    estimates the sum of p R over all items without bias, and that of w R d(log p) its gradient
    (Kool et al. 2019, https://arxiv.org/abs/1903.06059). Here the weights are divided by their
    sum, and b, the mean of R under them, is the baseline (as in Kool et al. 2020,
    https://arxiv.org/abs/2002.06043). The gradient is then a ratio of estimates: its bias falls
    with G, and is none where all eligible items are drawn, but its variance is far less, and it
    does not depend on how much probability a policy gives to tokens that lead to no item.
    """

    weighs_by_policy = True
    #: What logits are divided by; more draws more evenly. The weights correct for it.
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
        return Drawn(sample.items, sample.log_inclusion.float())

    def advantages(
        self, rewards: Tensor, log_probs: Tensor, drawn: Drawn, *, scale: bool
    ) -> Tensor:
        """G w (R - b) / sum of w, for G items a group."""
        from recllm.train.rollouts._groups import weighted

        if drawn.log_inclusion is None:
            raise ValueError("expected items with inclusion probabilities, as this rollout draws")
        log_weights = log_probs - drawn.log_inclusion
        return weighted(rewards, log_weights, drawn.items, scale=scale).to(log_probs)
