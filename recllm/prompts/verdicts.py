"""Rows of valid and test that are asked for a verdict, such as Yes or No."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.histories import Sequences, SplitRows, read_ratings
from recllm.errors import UserError
from recllm.prompts.examples import Material
from recllm.prompts.mixing import evaluation_prompts, verdict_tokens
from recllm.prompts.renderer import Renderer


@dataclass(frozen=True)
class VerdictRows:
    """Prompts that ask for a verdict, and what would be right.

    Attributes:
        row: (rows,) int64, the log row of each target.
        prompts: token ids of each.
        labels: (rows,) bool, whether the first of the task's verdicts is right.
        tokens: the token ids of the task's verdicts.
        left_out: how many rows of the split are not asked, by reason.
    """

    row: NDArray[np.int64]
    prompts: list[list[int]]
    labels: NDArray[np.bool_]
    tokens: list[int]
    left_out: Mapping[str, int]

    @classmethod
    def ask(
        cls,
        renderer: Renderer,
        sequences: Sequences,
        rows: SplitRows,
        filtered: Path,
        phrasing: int = 0,
    ) -> "VerdictRows":
        """The prompts of the renderer's task for the rows of a split.

        Args:
            filtered: the artifact of the stage filter, which has the ratings.

        Raises:
            UserError: the task gives no verdicts or lacks what it is made of, the tokenizer
                cannot tell its verdicts apart, or the rows do not hold both.
        """
        task = renderer.asked_by
        if not task.verdicts:
            raise UserError(
                f"expected a model that was trained to give verdicts, found one that is asked by "
                f"task {task.name}; evaluate it with the recipe that it was trained with"
            )
        ratings = read_ratings(filtered, sequences) if task.needs_ratings else None
        catalog = renderer.shown_catalog
        material = Material(catalog, sequences, rows, renderer.max_history, ratings=ratings)
        examples = task.examples(material)
        asked = list(evaluation_prompts(renderer, task, material, phrasing, examples))
        positive = [prompt.answer == task.verdicts[0] for prompt in asked]
        if len(set(positive)) < 2:
            found = f"{task.verdicts[0] if any(positive) else task.verdicts[1]} alone"
            raise UserError(
                f"task {task.name}: expected rows whose answer is {task.verdicts[0]} and rows "
                f"whose answer is {task.verdicts[1]}, found {found if asked else 'none'} in "
                f"{len(asked)} of {len(rows)} rows; without both there is no auc: check the task's "
                "options, such as what counts as liked"
            )
        return cls(
            row=np.array([prompt.row for prompt in asked], dtype=np.int64),
            prompts=[prompt.input_ids for prompt in asked],
            labels=np.array(positive, dtype=bool),
            tokens=verdict_tokens(renderer, task),
            left_out=examples.counts,
        )

    def __len__(self) -> int:
        return len(self.row)

    def select(self, index: NDArray[Any]) -> "VerdictRows":
        """Some of the rows."""
        prompts = [self.prompts[i] for i in index.tolist()]
        return VerdictRows(self.row[index], prompts, self.labels[index], self.tokens, self.left_out)
