"""Tasks: each turns what is known of users and items into instructions, inputs and answers.

A new task is one file here. Most extend `HistoryTask` (a history and what comes after it) or
`ItemTask` (one thing of an item from another); others extend `Task` and make their own examples.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from recllm.catalog.histories import History
from recllm.config.registry import Plugin
from recllm.config.task_mix import SEQREC
from recllm.prompts.examples import NOWHERE, CatalogText, Example, Examples, Material

__all__ = ["RECOMMENDATION_TASK", "CatalogText", "HistoryTask", "ItemTask", "Task", "TextFile"]

#: The task that recommenders are asked by where they were trained on it, and that `targets: all`
#: trains in one pass.
RECOMMENDATION_TASK = SEQREC


@dataclass(frozen=True)
class TextFile:
    """A file of texts that a task's options name.

    Attributes:
        column: of the texts.
        required: columns that it must have beside them.
        optional: columns that it may have, all of them or none.
    """

    path: Path
    column: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


class Task(Plugin):
    """Base of the tasks. Subclasses are one file each; their fields are options in recipes."""

    #: Ways to put the instruction; evaluation uses the first.
    phrasings: ClassVar[tuple[str, ...]]
    #: Words that its inputs and answers always have: a tokenizer from scratch learns them too.
    words: ClassVar[tuple[str, ...]] = ()
    #: Whether it writes SIDs, so that items must not go by their titles.
    needs_sids: ClassVar[bool] = True
    #: Answers that are compared by their first token: each must be one token, and all differ. The
    #: first is the positive one.
    verdicts: ClassVar[tuple[str, ...]] = ()
    #: Whether its answers stand for items, so that a catalogue can be ranked by them: a history
    #: task's always, only where items go by their titles, or never.
    ranks_items: ClassVar[Literal["always", "by title", "never"]] = "never"
    #: Whether it needs the ratings of the log.
    needs_ratings: ClassVar[bool] = False

    @property
    def forms(self) -> tuple[tuple[str, ...], ...]:
        """The phrasings of each of the forms that its examples have; most tasks have one."""
        return (self.phrasings,)

    @property
    def trains_one_target(self) -> bool:
        """Whether it shows a history and cannot train each position of it in one pass."""
        return True

    @property
    def item_columns(self) -> tuple[str, ...]:
        """The columns of the items that it needs beside item_id and title."""
        return ()

    @property
    def text_file(self) -> TextFile | None:
        """The file of texts that it needs."""
        return None

    @abstractmethod
    def examples(self, material: Material) -> Examples:
        """Its examples; none shows its target interaction or a later one.

        Raises:
            UserError: the material does not fit together.
        """

    def held_out_examples(self, material: Material) -> Examples:
        """Those of the rows of valid or test that were trained with no other row.

        Raises:
            UserError: the material does not fit together.
        """
        return self.examples(material)


class HistoryTask(Task):
    """A task of histories and targets: one example for each row of the split."""

    @abstractmethod
    def input(self, catalog: CatalogText, history: History) -> str:
        """What the prompt shows of a history (dense indices, oldest first). Never the target."""

    @abstractmethod
    def answers(self, catalog: CatalogText) -> Sequence[str]:
        """The completion for each item as the target; empty where there is none."""

    def examples(self, material: Material) -> Examples:
        """One for each row whose target has an answer; counts the others."""
        rows, catalog = material.rows, material.catalog
        answers = self.answers(catalog)
        has_answer = np.array([bool(answer) for answer in answers], dtype=bool)
        chosen = np.flatnonzero(has_answer[rows.target])

        def write(index: int) -> Example:
            row = int(chosen[index])
            shown = self.input(catalog, rows.history(row)[-material.max_history :])
            return Example(shown, answers[int(rows.target[row])])

        target = rows.histories.ends[chosen]
        left_out = len(rows) - len(chosen)
        counts = {"targets_without_text": left_out} if left_out else {}
        return Examples(rows.row[chosen], target, target - 1, write, counts)


class ItemTask(Task):
    """A task of the catalogue alone: one example for each item."""

    @property
    def trains_one_target(self) -> bool:
        """False: there is no history."""
        return False

    @abstractmethod
    def inputs(self, catalog: CatalogText) -> Sequence[str]:
        """What the prompt shows of each item; empty where there is nothing to show."""

    @abstractmethod
    def answers(self, catalog: CatalogText) -> Sequence[str]:
        """The completion of each item; empty where there is none."""

    def examples(self, material: Material) -> Examples:
        """One for each item that has both; counts the others."""
        inputs, answers = self.inputs(material.catalog), self.answers(material.catalog)
        pairs = zip(inputs, answers, strict=True)
        chosen = np.flatnonzero([bool(shown) and bool(answer) for shown, answer in pairs])
        left_out = len(inputs) - len(chosen)
        counts = {"items_without_text": left_out} if left_out else {}
        nowhere = np.full(len(chosen), NOWHERE)

        def write(index: int) -> Example:
            item = int(chosen[index])
            return Example(inputs[item], answers[item])

        return Examples(chosen.astype(np.int64), nowhere, nowhere, write, counts)
