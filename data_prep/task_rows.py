"""The rows of a mix of tasks, and what they are made of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recllm.catalog.histories import Sequences, SplitRows, read_ratings
from recllm.catalog.items import Items
from recllm.config.task_mix import TaskShare
from recllm.data_prep.prompt_texts import read_texts
from recllm.errors import UserError
from recllm.prompts.examples import CatalogText, Material
from recllm.prompts.tasks import RECOMMENDATION_TASK, Task


@dataclass(frozen=True)
class TaskRows:
    """The training rows of a mix.

    Attributes:
        section: where the mix stands in the recipe, for what is said of it.
        max_history: only the last items of a history are shown.
    """

    mix: Sequence[TaskShare]
    section: str
    max_history: int
    seed: int

    def materials(
        self, filtered: Path, catalog: CatalogText, sequences: Sequences, train: SplitRows
    ) -> dict[str, Material]:
        """What each task is made of.

        Args:
            filtered: the artifact of the stage filter.
            catalog: as the template has it written.

        Raises:
            UserError: something that a task needs is missing.
        """
        given = (catalog, sequences, train, self.max_history)
        needs_ratings = any(share.task.needs_ratings for share in self.mix)
        ratings = read_ratings(filtered, sequences) if needs_ratings else None
        for share in self.mix:
            self._check_columns(share.task, catalog.items, has_ratings=ratings is not None)
        return {
            share.task.name: Material(*given, self.seed, ratings, read_texts(share.task))
            for share in self.mix
        }

    def rows(
        self,
        renderer: Any,
        materials: Mapping[str, Material],
        counts: dict[str, int],
        *,
        all_targets: bool = False,
    ) -> Iterator[Any]:
        """The rows of one task after the other; adds what was left out to `counts`.

        Args:
            all_targets: train every position of a sequence in one row, where a task can.
        """
        from recllm.prompts.mixing import example_rows
        from recllm.prompts.training import all_target_rows, last_target_rows

        for share in self.mix:
            task, material = share.task, materials[share.task.name]
            given = (share.weight, self.seed)
            if task.name == RECOMMENDATION_TASK and all_targets:
                yield from all_target_rows(
                    renderer, task, material.sequences, *given, cap=share.cap
                )
                continue
            if task.name == RECOMMENDATION_TASK:
                yield from last_target_rows(renderer, task, material.rows, *given, cap=share.cap)
                continue
            examples = task.examples(material)
            self._check_some(task, examples)
            counts |= {f"{_key(task)}_{what}": number for what, number in examples.counts.items()}
            yield from example_rows(
                renderer,
                task,
                examples,
                material.sequences,
                weight=share.weight,
                seed=self.seed,
                cap=share.cap,
            )

    def _check_columns(self, task: Task, items: Items, has_ratings: bool) -> None:
        """Refuse a task for which the log or the items lack a column.

        Raises:
            UserError: they do.
        """
        for column in task.item_columns:
            if column not in items.columns:
                raise UserError(
                    f"{self.section}.tasks.{task.name} needs a column {column!r} of the items, "
                    f"which have {', '.join(items.columns)}; give one (data.columns; "
                    "data.item_columns keeps any other of the items file), or leave the task out"
                )
        if task.needs_ratings and not has_ratings:
            raise UserError(
                f"{self.section}.tasks.{task.name} needs ratings, but the log has no column of "
                "them; name one (data.columns.rating), or leave the task out"
            )

    def _check_some(self, task: Task, examples: Any) -> None:
        if not len(examples):
            reasons = ", ".join(f"{number} {what}" for what, number in examples.counts.items())
            raise UserError(
                f"{self.section}.tasks.{task.name} has nothing to train on "
                f"({reasons.replace('_', ' ')}); give what is missing, or leave the task out"
            )


def _key(task: Task) -> str:
    return task.name.replace("-", "_")
