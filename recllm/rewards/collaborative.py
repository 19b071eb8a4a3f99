"""What a recommender that knows nothing but who took what thinks of an item."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.histories import Spans
from recllm.errors import UserError
from recllm.rewards import Groups, Reward, RewardFacts, Scorer


class Collaborative(Reward):
    """What a SASRec thinks of the item after the history, from 0 to 1 for its favourite item.

    By `probability`: the item's over that of the teacher's favourite, exp(s(item) - max s), s the
    teacher's scores of the whole catalogue. The probabilities themselves would be small in a large
    catalogue, and no weight would fit. By `rank`: 1 / log2(r + 2), r the item's 0-based rank among
    all items, as ndcg discounts it, which tells unlikely items from each other too.

    The collaborative reward that MiniOneRec (Kong et al., 2025, arXiv:2510.24431) compares with
    gives the scores as they are. The target is not looked at: it scores highest only where the
    teacher is right, and a model can please the teacher and get worse. Use it beside another, or,
    with `rl.targets: unknown` and a KL penalty, where the teacher ranks better than the model: of
    targets that it was trained on itself, it tells mostly what it remembers.
    """

    needs_teacher = True
    needs_target = False

    by: Literal["probability", "rank"] = "probability"

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
            if self.by == "rank":
                return 1 / np.log2(_ranks(scores, own) + 2)
            return np.exp(own - scores.max(axis=1, keepdims=True))

        return score


def _ranks(scores: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of the scores (groups, items) are above each of `own` (groups, G)."""
    pairs = zip(np.sort(scores, axis=1), own, strict=True)
    return np.stack([len(row) - np.searchsorted(row, mine, side="right") for row, mine in pairs])
