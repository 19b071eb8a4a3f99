"""The grounding engine: a title is written freely, and the items nearest to it are recommended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.eval.engines import Engine, Known, Questions, Ranker
from recllm.eval.engines._nearest import nearest_items, popularity_weights
from recllm.metrics.ranking import ranks_of
from recllm.metrics.ranking.ndcg import ndcg
from recllm.progress import progress

if TYPE_CHECKING:
    from recllm.config.schema import EvalSection
    from recllm.decoding.ranking import Ranking
    from recllm.models.recommender import Recommender

Gamma = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Grounding(Engine):
    """BIGRec's two steps (Bao et al., 2023, arXiv:2308.08434): write a title, ground it in items.

    The title is what `generate` finds by beam search without a constraint. It and the titles of
    all items are embedded by the checkpoint itself: the last layer's hidden state at the title's
    last token. With D the L2 distance of an item's title to what was written, and C the item's
    training interactions, each brought to [0, 1] by least and greatest over the catalogue (the
    paper's distances and popularity, and its code's: `adjust_pda.py`), items are ranked by

        D / (1 + C) ** gamma

    least first, ties in catalogue order. gamma = 0 leaves popularity out; of several, the one of
    the highest ndcg@10 on validation rows is taken, the least where they tie. Scores are the
    values with their sign turned. Where nothing was written, all items are as near as each other.
    While a model trains, its checkpoints are chosen by the ranking of the constrained search.
    """

    needs_titles: ClassVar = True

    gammas: tuple[Gamma, ...] = Field(
        default=(0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
        min_length=1,
        description="how much popularity weighs; of several, chosen on validation",
    )
    written_beams: int = Field(default=4, ge=1, description="of the search for a title")

    def open(self, checkpoint: Path, known: Known, settings: EvalSection, dtype: str) -> Ranker:
        """See the base class; chooses gamma on validation, where there are several.

        Raises:
            UserError: the checkpoint's items go by SIDs.
        """
        from recllm.catalog.sids import TitleIndex
        from recllm.errors import UserError
        from recllm.models.devices import resolve_dtype
        from recllm.models.recommender import Recommender

        recommender = Recommender.load(checkpoint, resolve_dtype(dtype))
        if not isinstance(recommender.sids, TitleIndex):
            raise UserError(
                f"{checkpoint}: the engine grounding needs a model that writes titles, found one "
                "that writes SIDs; train it with sid.quantizer: title, or use another eval.engine"
            )
        return GroundingRanker(self, recommender, known, settings, dtype)


class GroundingRanker(Ranker):
    """Writes titles with a checkpoint and finds the nearest items."""

    def __init__(
        self,
        engine: Grounding,
        recommender: Recommender,
        known: Known,
        settings: EvalSection,
        dtype: str,
    ) -> None:
        from recllm.eval.engines._titles import TitleWriter

        super().__init__()
        self._writer = TitleWriter(recommender, engine.written_beams, settings.batch_tokens)
        self._settings, self._dtype = settings, dtype
        self._items = self._writer.embed(recommender.sids.texts())
        self._popularity = known.popularity
        self._tried: dict[str, float] = {}
        self._gamma = engine.gammas[0]
        if len(engine.gammas) > 1:
            self._gamma = self._choose(engine.gammas, known)

    def rank(self, questions: Questions, advance: Callable[[int], None] | None = None) -> Ranking:
        """See the base class; `nothing_written` counts the rows for which no title was."""
        written = self._write(questions, advance)
        nothing = int(np.isnan(written).any(axis=1).sum())
        self.counts = {"beam_tokens": self._writer.tokens, "nothing_written": nothing}
        return self._nearest(written, questions, self._gamma)

    @property
    def choices(self) -> dict[str, Any]:
        """The precision and batches, gamma and the validation ndcg@10 of each one tried."""
        from recllm.eval.engines.transformers import device_choices

        found = device_choices(self._settings, self._dtype)
        found["gamma"] = self._gamma
        return found | ({"valid_ndcg@10": self._tried} if self._tried else {})

    def _choose(self, gammas: tuple[float, ...], known: Known) -> float:
        questions, targets = known.validation()
        if not len(questions):
            return gammas[0]
        with progress("writing titles", len(questions)) as advance:
            written = self._write(questions, advance)
        for gamma in sorted(gammas):
            ranks = ranks_of(self._nearest(written, questions, gamma).items, targets)
            self._tried[f"{gamma:g}"] = float(ndcg(ranks, 10).mean())
        return max(sorted(gammas), key=lambda gamma: self._tried[f"{gamma:g}"])

    def _write(
        self, questions: Questions, advance: Callable[[int], None] | None
    ) -> NDArray[np.float32]:
        """(questions, hidden) the embedding of what was written for each; NaN for nothing."""
        return self._writer.embed(self._writer.write(questions.prompts, advance))

    def _nearest(self, written: NDArray[np.float32], questions: Questions, gamma: float) -> Ranking:
        from recllm.decoding.ranking import Ranking

        weights = popularity_weights(self._popularity, gamma)
        beams = questions.beams(self._settings.beams)
        found = nearest_items(
            written, self._items, weights, beams, questions.exclude, only=questions.only
        )
        return Ranking(*found)
