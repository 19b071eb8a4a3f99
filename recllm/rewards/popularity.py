"""A penalty on what everybody takes."""

import numpy as np
from numpy.typing import NDArray

from recllm.baselines.ranking import popularity_counts
from recllm.rewards import Groups, Reward, RewardFacts, Scorer


class Popularity(Reward):
    """0 for the target, and for others -log(1 + n) / log(1 + N), so from -1 to 0.

    n counts the training interactions of the item, N those of the most popular one. Of all items
    that are wrong, those that are recommended because everybody takes them cost most; the
    logarithm is that of novelty (Zhou et al., 2010, doi:10.1073/pnas.1000488107).
    """

    needs_target = False

    def scorer(self, facts: RewardFacts) -> Scorer:
        """Counts the training interactions; see the base class."""
        logs = np.log1p(popularity_counts(facts.training, facts.items))
        penalty = logs / max(logs.max(initial=0), np.log(2))

        def score(groups: Groups) -> NDArray[np.float64]:
            return np.where(groups.hits, 0.0, -penalty[groups.items])

        return score
