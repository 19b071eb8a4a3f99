"""The target, discounted by its place."""

import numpy as np
from numpy.typing import NDArray

from recllm.rewards import Groups, Reward, RewardFacts, Scorer
from recllm.rewards._discount import discounts


class Ndcg(Reward):
    """1 / log2(rank + 2) where the item is the target, at 0-based place `rank`, else 0.

    What the item adds to ndcg (Järvelin & Kekäläinen, 2002) where the rollout is a ranking.
    """

    def scorer(self, facts: RewardFacts) -> Scorer:
        """Needs no facts; see the base class."""
        del facts
        return _score


def _score(groups: Groups) -> NDArray[np.float64]:
    return np.where(groups.hits, discounts(groups.items.shape[1]), 0.0)
