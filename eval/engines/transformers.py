"""The transformers engine: constrained tree beam search in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recllm.eval.engines import Engine, Known, Questions, Ranker

if TYPE_CHECKING:
    from recllm.config.schema import EvalSection
    from recllm.decoding.engine import Ranking
    from recllm.models.recommender import Recommender


class Transformers(Engine):
    """Decodes with `recllm.decoding` on the GPU, or on the CPU where there is none."""

    def open(self, checkpoint: Path, known: Known, settings: EvalSection, dtype: str) -> Ranker:
        """See the base class; nothing is chosen on validation."""
        from recllm.models.devices import resolve_dtype
        from recllm.models.recommender import Recommender

        del known
        return TreeRanker(Recommender.load(checkpoint, resolve_dtype(dtype)), settings, dtype)


class TreeRanker(Ranker):
    """Searches the trie of the checkpoint's items."""

    def __init__(self, recommender: Recommender, settings: EvalSection, dtype: str) -> None:
        from recllm.decoding.batching import batch_tokens_for

        super().__init__()
        self._recommender = recommender
        self._batch_tokens = settings.batch_tokens or batch_tokens_for(recommender.model)
        self._settings = settings
        self._dtype = dtype

    def rank(self, questions: Questions, advance: Callable[[int], None] | None = None) -> Ranking:
        """See the base class."""
        from recllm.decoding.batching import beam_tokens

        beams = questions.beams(self._settings.beams)
        tokens = len(questions) * beam_tokens(self._recommender.trie, beams)
        self.counts = {"beam_tokens": tokens}
        return self._recommender.rank_prompts(
            questions.prompts,
            beams=beams,
            scoring=self._settings.scoring,
            exclude=questions.exclude,
            only=questions.only,
            batch_tokens=self._batch_tokens,
            progress=advance,
        )

    @property
    def choices(self) -> dict[str, Any]:
        """Tokens a batch by the memory, and the precision by the device."""
        return device_choices(self._settings, self._dtype) | {"batch_tokens": self._batch_tokens}


def device_choices(settings: EvalSection, dtype: str) -> dict[str, Any]:
    """What an engine in this process takes by the device: `batch_tokens` and `dtype`."""
    from recllm.decoding.batching import default_batch_tokens
    from recllm.models.devices import resolve_device, resolve_dtype

    return {
        "batch_tokens": settings.batch_tokens or default_batch_tokens(resolve_device()),
        "dtype": str(resolve_dtype(dtype)).removeprefix("torch."),
    }
