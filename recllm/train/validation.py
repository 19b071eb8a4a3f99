"""How good a model is while it trains: the decoding engine on a sample of validation rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

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

    def __len__(self) -> int:
        return len(self.targets)

    def part(self, which: int, of: int) -> "Validation":
        """Every `of`-th row, from row `which` on."""
        return replace(self, histories=self.histories[which::of], targets=self.targets[which::of])

    def values(self, recommender: Recommender) -> NDArray[np.integer]:
        """Where each row's target is ranked; see `ranks_of`."""
        ranking = recommender.rank(
            self.histories,
            beams=BEAMS,
            scoring=self.settings.scoring,
            exclude_history=self.settings.exclude_history,
            batch_tokens=self.settings.batch_tokens,
        )
        return ranks_of(ranking.items, self.targets)

    def metrics(self, values: NDArray[Any]) -> dict[str, float]:
        """hit@10 and ndcg@10 of the ranks."""
        return {name: float(compute(name, values).mean()) for name in METRICS}
