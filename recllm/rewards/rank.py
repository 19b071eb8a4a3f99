"""The target, and a penalty on what was ranked with it."""

import numpy as np
from numpy.typing import NDArray

from recllm.rewards import Groups, Reward, RewardFacts, Scorer
from recllm.rewards._discount import discounts


class Rank(Reward):
    """1 for the target, and a penalty for the others, the larger the higher they stand.

    The sum of the rule-based and the rank-aware reward of MiniOneRec (Kong et al., 2025,
    arXiv:2510.24431), which has it from ReRe (Tan et al., 2025, arXiv:2510.12211). In a group
    that has its target, an item at 0-based place r gets, with d(r) = 1 / log2(r + 2),

        1                                                     the target
        -d(r) / sum of d over the places of the other items   the other items

    so that the penalties of a group sum to -1; in a group without it, all get 0. (The papers'
    formula gives the target no part in that sum; MiniOneRec's code counts its place too, which
    makes all penalties of a group smaller by one factor.)
    """

    def scorer(self, facts: RewardFacts) -> Scorer:
        """Needs no facts; see the base class."""
        del facts
        return _score


def _score(groups: Groups) -> NDArray[np.float64]:
    hits = groups.hits
    counted = groups.present & ~hits & hits.any(axis=1, keepdims=True)
    weights = np.where(counted, discounts(hits.shape[1]), 0.0)
    sums = weights.sum(axis=1, keepdims=True)
    return hits - np.divide(weights, sums, out=np.zeros_like(weights), where=sums > 0)
