"""How good a model is while it trains: the decoding engine on a sample of validation rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.histories import SplitRows
from recllm.config.schema import EvalSection
from recllm.metrics.ranking import compute, ranks_of
from recllm.models.recommender import Recommender

METRICS = ("hit@10", "ndcg@10")
#: Just as many as the metrics look at: a wider search changes them little and costs its width.
BEAMS = 10


@dataclass(frozen=True)
class Validation:
    """A fixed sample of validation rows, ranked as evaluation does it but with fewer beams."""

    histories: Sequence[NDArray[np.int32]]
    targets: NDArray[np.int32]
    settings: EvalSection

    @classmethod
    def sample(cls, rows: SplitRows, size: int, settings: EvalSection, seed: int) -> "Validation":
        """At most `size` rows, drawn once by the seed."""
        order = np.random.default_rng(seed).permutation(len(rows))[:size]
        chosen = np.sort(order)
        return cls([rows.history(i) for i in chosen], rows.target[chosen], settings)

    def part(self, which: int, of: int) -> "Validation":
        """Every `of`-th row, from row `which` on."""
        return replace(self, histories=self.histories[which::of], targets=self.targets[which::of])

    def measure(self, recommender: Recommender) -> dict[str, float]:
        """hit@10 and ndcg@10 on the sample."""
        return metrics(self.ranks(recommender))

    def ranks(self, recommender: Recommender) -> NDArray[np.integer]:
        """Where each row's target is ranked; see `ranks_of`."""
        ranking = recommender.rank(
            self.histories,
            beams=BEAMS,
            scoring=self.settings.scoring,
            exclude_history=self.settings.exclude_history,
            batch_tokens=self.settings.batch_tokens,
        )
        return ranks_of(ranking.items, self.targets)


def metrics(ranks: NDArray[np.integer]) -> dict[str, float]:
    """The mean of each metric over rows with these ranks."""
    return {name: float(compute(name, ranks).mean()) for name in METRICS}
