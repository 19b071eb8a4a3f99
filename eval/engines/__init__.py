"""Engines: each ranks the catalogue for a batch of histories with a checkpoint."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from recllm.config.registry import Plugin

if TYPE_CHECKING:  # decoding needs torch, and recipes are checked without it
    from recllm.config.schema import EvalSection
    from recllm.decoding.engine import Ranking


class Engine(Plugin):
    """Base of the engines. Subclasses are one file each and take their options as fields."""

    @abstractmethod
    def rank(
        self,
        checkpoint: Path,
        histories: Sequence[NDArray[np.int32]],
        settings: EvalSection,
        dtype: str,
    ) -> Ranking:
        """The best `settings.beams` items for each history, with a checkpoint's own prompts.

        Args:
            checkpoint: a folder that `Recommender.save` wrote.
            dtype: `auto`, `float32` or `bfloat16`.
        """

    @abstractmethod
    def choices(self, settings: EvalSection, dtype: str) -> dict[str, Any]:
        """What `rank` takes where these settings leave the choice to it, such as `batch_tokens`."""
