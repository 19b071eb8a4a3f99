"""Which prompts a process rolls out together, and which take the place of others."""

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from recllm.train.batches import GlobalBatches


class GroupBatches(GlobalBatches):
    """Batches of whole prompts, each as often as its rollouts are used.

    The trainer asks for a batch in each of its small steps, and rolls out in the first of those
    that share one. What is left at the end of an epoch, too little for a batch, is left out.
    """

    def __init__(
        self, rows: int, batch: int, *, uses: int, order: Sequence[int] | None, **options: Any
    ) -> None:
        """Describe the batches of each epoch.

        Args:
            batch: prompts that a process rolls out at once.
            uses: small steps that share a batch.
            order: of the rows, the same in each epoch; by default drawn anew for each.
            options: as `GlobalBatches`.
        """
        super().__init__(rows, batch, drop_last=True, **options)
        self._uses, self._fixed = uses, order

    def __len__(self) -> int:
        """How many small steps an epoch has."""
        return super().__len__() * self._uses

    def __iter__(self) -> Generator[list[int], None, None]:
        """The prompts of each small step that are this process's."""
        for batch in super().__iter__():
            for _ in range(self._uses):
                yield batch

    def _order(self) -> Sequence[int]:
        return super()._order() if self._fixed is None else self._fixed


def replacement(rows: int, *key: int) -> int:
    """A row, drawn by a key of whole numbers: the same one in any number of processes."""
    return int(np.random.default_rng(key).integers(rows))
