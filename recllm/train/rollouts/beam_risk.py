"""The rollout `beam-risk`: the expected reward over a beam."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recllm.train.rollouts import Drawn
from recllm.train.rollouts.beam import Beam

if TYPE_CHECKING:
    from torch import Tensor


class BeamRisk(Beam):
    """The items of beam search, weighted so that the gradient is that of an expectation.

    The objective is the expected reward under the policy renormalised over the beam: the sum of
    q R, where q is the softmax of the items' log-probabilities. Its derivative by the
    log-probability of an item is q (R - sum of q R). Minimum risk training: Shen et al. 2016,
    https://arxiv.org/abs/1512.02433.
    """

    weighs_by_policy = True

    def advantages(
        self, rewards: Tensor, log_probs: Tensor, drawn: Drawn, *, scale: bool
    ) -> Tensor:
        """G q (R - sum of q R), for G items a group."""
        from recllm.train.rollouts._groups import weighted

        return weighted(rewards, log_probs, drawn.items, scale=scale).to(log_probs)
