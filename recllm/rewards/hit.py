"""1 for the target."""

import numpy as np
from numpy.typing import NDArray

from recllm.rewards import Groups, Reward, RewardFacts, Scorer


class Hit(Reward):
    """1 where the item is the target, else 0.

    The rule-based reward of MiniOneRec (Kong et al., 2025, arXiv:2510.24431).
    """

    def scorer(self, facts: RewardFacts) -> Scorer:
        """Needs no facts; see the base class."""
        del facts
        return _score


def _score(groups: Groups) -> NDArray[np.float64]:
    return groups.hits.astype(np.float64)
