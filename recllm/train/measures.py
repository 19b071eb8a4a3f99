"""What a training is measured by: a ranking of the catalogue, or verdicts on single items."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.histories import Sequences, SplitRows
from recllm.config.schema import Recipe
from recllm.errors import UserError
from recllm.metrics.classification import auc
from recllm.models.recommender import Recommender
from recllm.models.verdicts import verdict_scores
from recllm.prompts.verdicts import VerdictRows
from recllm.train.validation import Validation


class Measure(Protocol):
    """Measures a model on rows while it trains; processes may share the rows."""

    def __len__(self) -> int:
        """How many rows."""
        ...

    def part(self, which: int, of: int) -> "Measure":
        """Every `of`-th row, from row `which` on."""
        ...

    def values(self, recommender: Recommender) -> NDArray[Any]:
        """(rows,) what the metrics are of."""
        ...

    def metrics(self, values: NDArray[Any]) -> dict[str, float]:
        """Metrics by name, of the values of all rows."""
        ...


@dataclass(frozen=True)
class VerdictValidation:
    """A fixed sample of validation rows, judged as evaluation does it."""

    rows: VerdictRows
    batch_tokens: int | None

    @classmethod
    def sample(
        cls, rows: VerdictRows, size: int, batch_tokens: int | None, seed: int
    ) -> "VerdictValidation":
        """At most `size` rows, drawn once by the seed.

        Raises:
            UserError: all that are drawn have one answer.
        """
        order = np.random.default_rng(seed).permutation(len(rows))[:size]
        chosen = rows.select(np.sort(order))
        if chosen.labels.all() or not chosen.labels.any():
            raise UserError(
                f"the {len(chosen)} validation rows that sft.validation_users draws all have one "
                "answer, which gives no auc; raise it"
            )
        return cls(chosen, batch_tokens)

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, which: int, of: int) -> "VerdictValidation":
        """See `Measure`."""
        return replace(self, rows=self.rows.select(np.arange(which, len(self), of)))

    def values(self, recommender: Recommender) -> NDArray[np.float64]:
        """The score of each row."""
        rows = self.rows
        return verdict_scores(recommender.model, rows.prompts, rows.tokens, self.batch_tokens)

    def metrics(self, values: NDArray[Any]) -> dict[str, float]:
        """The auc of the scores."""
        return {"auc": auc(values, self.rows.labels)}


def best_metric(recipe: Recipe) -> str:
    """The metric by which the best checkpoint of a training is chosen."""
    return "auc" if recipe.asked_by.verdicts else "ndcg@10"


def choose_measure(
    recipe: Recipe,
    recommender: Recommender,
    inputs: Mapping[str, Path],
    valid: SplitRows,
    size: int,
) -> Measure:
    """What the training of a recipe is measured by, on its validation rows.

    Args:
        inputs: the artifacts of the stages filter and split.
        size: at most so many rows, drawn by the seed.

    Raises:
        UserError: the rows do not have what the task asks for.
    """
    section = recipe.eval
    if not recipe.asked_by.verdicts:
        return Validation.sample(valid, size, section, recipe.seed)
    sequences = Sequences.read(inputs["split"])
    rows = VerdictRows.ask(recommender.renderer, sequences, valid, inputs["filter"])
    return VerdictValidation.sample(rows, size, section.batch_tokens, recipe.seed)
