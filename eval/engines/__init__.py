"""Engines: each ranks the catalogue for a batch of prompts with a checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from recllm.config.registry import Plugin

if TYPE_CHECKING:  # decoding needs torch, and recipes are checked without it
    from recllm.catalog.histories import History
    from recllm.config.schema import EvalSection
    from recllm.decoding.ranking import Ranking


@dataclass(frozen=True)
class Questions:
    """What an engine is asked.

    Attributes:
        prompts: token ids, rendered by the checkpoint's own template and task.
        exclude: for each prompt the items that may not be returned; None: all may.
        only: for each prompt the items that alone may be returned; None: all may.
    """

    prompts: Sequence[Sequence[int]]
    exclude: Sequence[History] | None
    only: Sequence[History] | None = None

    def __len__(self) -> int:
        return len(self.prompts)

    def part(self, rows: slice) -> Questions:
        """Some of them."""
        exclude, only = (None if x is None else x[rows] for x in (self.exclude, self.only))
        return Questions(self.prompts[rows], exclude, only)

    def beams(self, asked: int) -> int:
        """How wide to search: as asked, or, where `only` is given, wide enough for all of these.

        A beam search that is as wide as the longest list loses none of its items on the way.
        """
        return asked if self.only is None else max([1, *map(len, self.only)])


@dataclass(frozen=True)
class Known:
    """What an engine may know beside the checkpoint; nothing of the rows that it is asked about.

    Attributes:
        popularity: (items,) int64, the training interactions of each item.
        validation: gives questions and the target of each, (rows,) int32, of validation rows.
        cache: a folder for what an engine prepares once and finds again.
    """

    popularity: NDArray[np.int64]
    validation: Callable[[], tuple[Questions, NDArray[np.int32]]]
    cache: Path


class Ranker(ABC):
    """A checkpoint, loaded, that ranks; what is chosen on validation is chosen by then."""

    def __init__(self) -> None:
        #: Of the last ranking: `beam_tokens`, those beside the prompts' that it followed, and
        #: what else the engine counts.
        self.counts: dict[str, int] = {}

    @abstractmethod
    def rank(self, questions: Questions, advance: Callable[[int], None] | None = None) -> Ranking:
        """The best `questions.beams(eval.beams)` items for each prompt.

        Args:
            advance: called with the number of rows done since its last call.
        """

    @property
    @abstractmethod
    def choices(self) -> dict[str, Any]:
        """What it took where the settings leave the choice to it, such as `batch_tokens`."""

    def close(self) -> None:  # noqa: B027 (most hold nothing that has to be given back)
        """Give back what it holds; it ranks no more."""


class Engine(Plugin):
    """Base of the engines. Subclasses are one file each and take their options as fields."""

    #: Whether it needs items that go by their titles.
    needs_titles: ClassVar[bool] = False

    @abstractmethod
    def open(self, checkpoint: Path, known: Known, settings: EvalSection, dtype: str) -> Ranker:
        """The checkpoint, ready to rank.

        Args:
            checkpoint: a folder that `Recommender.save` wrote.
            dtype: `auto`, `float32` or `bfloat16`.

        Raises:
            UserError: the engine cannot rank with this checkpoint.
        """
