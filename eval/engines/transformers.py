"""The transformers engine: constrained tree beam search in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recllm.eval.engines import Engine
from recllm.progress import progress

if TYPE_CHECKING:
    from recllm.config.schema import EvalSection
    from recllm.decoding.engine import Ranking


class Transformers(Engine):
    """Decodes with `recllm.decoding` on the GPU, or on the CPU where there is none."""

    def rank(
        self,
        checkpoint: Path,
        histories: Sequence[NDArray[np.int32]],
        settings: EvalSection,
        dtype: str,
    ) -> Ranking:
        """See the base class."""
        from recllm.models.backbone import resolve_dtype
        from recllm.models.recommender import Recommender

        recommender = Recommender.load(checkpoint, resolve_dtype(dtype))
        with progress("ranking", len(histories)) as advance:
            return recommender.rank(
                histories,
                beams=settings.beams,
                scoring=settings.scoring,
                exclude_history=settings.exclude_history,
                batch_tokens=settings.batch_tokens,
                progress=advance,
            )

    def choices(self, settings: EvalSection, dtype: str) -> dict[str, Any]:
        """Tokens a batch by the device, and the precision that it has."""
        from recllm.decoding.batching import default_batch_tokens
        from recllm.models.backbone import resolve_device, resolve_dtype

        return {
            "batch_tokens": settings.batch_tokens or default_batch_tokens(resolve_device()),
            "dtype": str(resolve_dtype(dtype)).removeprefix("torch."),
        }
