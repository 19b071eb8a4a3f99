"""What a recommender that knows nothing but who took what thinks of an item."""

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.histories import Spans
from recllm.errors import UserError
from recllm.rewards import Groups, Reward, RewardFacts, Scorer


class Collaborative(Reward):
    """A SASRec's probability of the item after the history, over that of its favourite item.

    exp(s(item) - max s), s the teacher's scores of the whole catalogue after the history: 1 for
    the item that the teacher would recommend first, towards 0 for what it holds unlikely. The
    probabilities themselves would be small in a large catalogue, and no weight would fit.

    The collaborative reward that MiniOneRec (Kong et al., 2025, arXiv:2510.24431) compares with
    gives the scores as they are. The target is not looked at: it scores highest only where the
    teacher is right, and a model can please the teacher and get worse. Use it beside another.
    """

    needs_teacher = True
    needs_target = False

    def scorer(self, facts: RewardFacts) -> Scorer:
        """Loads the teacher; see the base class."""
        from recllm.baselines.sasrec import SasRec  # torch

        assert facts.teacher is not None
        teacher = SasRec.load(facts.teacher)
        if teacher.items != facts.items:
            raise UserError(
                f"{facts.teacher}: the teacher knows {teacher.items} items, but the catalogue has "
                f"{facts.items}; train it on the same split"
            )

        def score(groups: Groups) -> NDArray[np.float64]:
            scores = teacher.scores(Spans.from_lists(groups.histories)).astype(np.float64)
            own = np.take_along_axis(scores, np.maximum(groups.items, 0), axis=1)
            return np.exp(own - scores.max(axis=1, keepdims=True))

        return score
