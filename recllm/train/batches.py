"""Which rows make a batch: the same ones, however many processes share it."""

from collections.abc import Callable, Generator, Sequence
from itertools import cycle, islice

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.trainer_pt_utils import BatchRebalanceSampler, get_length_grouped_indices

from recllm.errors import UserError


class GlobalBatches(BatchRebalanceSampler):
    """The part that one process has of each batch of a training.

    A batch is what all processes take at once. Its rows depend on the seed, the epoch and its
    size, not on how many processes share it: 2 processes with 8 rows each train on what one
    process with 16 does, also on the rows that are left at the end of an epoch (where fewer are
    left than there are processes, rows of the epoch's start are taken once more). So does a
    training that goes on in the middle of an epoch.

    The parent is what transformers knows not to share out between processes once more; nothing
    else is taken from it.
    """

    def __init__(
        self,
        rows: int,
        batch: int,
        *,
        rank: int = 0,
        processes: int = 1,
        seed: int = 0,
        epoch: Callable[[], int] = lambda: 0,
        lengths: NDArray[np.integer] | None = None,
        group: int = 1,
        drop_last: bool = False,
    ) -> None:
        """Describe the batches of each epoch.

        Args:
            rows: how many rows there are.
            batch: how many of them a process takes at once.
            epoch: which epoch is drawn, asked when it begins.
            lengths: of the rows; where given, rows of like length come together.
            group: batches that are one step of the optimizer; their rows are of like length.
            drop_last: leave out the batch at the end of an epoch that is not full.
        """
        self._rows, self._batch = rows, batch * processes
        self._rank, self._processes = rank, processes
        self._seed, self._epoch = seed, epoch
        self._lengths = None if lengths is None else lengths.tolist()
        self._group = group
        self.drop_last = drop_last

    def __len__(self) -> int:
        """How many batches an epoch has."""
        full, left = divmod(self._rows, self._batch)
        return full + (left > 0 and not self.drop_last)

    def __iter__(self) -> Generator[list[int], None, None]:
        """The rows of each batch that are this process's."""
        order = self._order()
        for start in range(0, self._rows, self._batch):
            batch = order[start : start + self._batch]
            if len(batch) < self._batch and self.drop_last:
                return
            missing = self._processes - len(batch)
            batch = [*batch, *islice(cycle(order), max(missing, 0))]
            yield batch[self._rank :: self._processes]

    def set_epoch(self, epoch: int) -> None:
        """Nothing: the epoch is asked for, since this is not called after a resumption."""

    def _order(self) -> Sequence[int]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch())
        if self._lengths is None:
            return torch.randperm(self._rows, generator=generator).tolist()
        size = self._batch * self._group
        return get_length_grouped_indices(self._lengths, size, generator=generator)


def accumulation_steps(
    batch: int, at_once: int, processes: int, generations: int | None = None
) -> int:
    """How many batches of all processes make one step of so many rows.

    Args:
        batch: rows of a step.
        at_once: rows that a process takes at once.
        generations: items of each prompt, where rows are prompts of reinforcement learning.

    Raises:
        UserError: no whole number of them does.
    """
    steps, rest = divmod(batch, at_once * processes)
    if rest or not steps:
        stage, things = ("rl", "prompts") if generations else ("sft", "rows")
        said = f"{at_once} {things} at once"
        if processes > 1:
            said += f" in each of {processes} processes"
        fitting = _fitting(batch, at_once, processes)
        if fitting is None:
            advice = f"train in as many processes as divide {batch}"
        else:
            setting = f"{stage}.trainer.per_device_train_batch_size"
            counted = f" (it counts items, {generations} a prompt)" if generations else ""
            advice = f"set {setting} to {fitting * (generations or 1)}{counted}"
        raise UserError(f"{stage}.batch_size is {batch}, which is no multiple of {said}; {advice}")
    return steps


def _fitting(batch: int, at_once: int, processes: int) -> int | None:
    """The most rows that a process can take at once; None where their shares are not equal."""
    share, rest = divmod(batch, processes)
    if rest or not share:
        return None
    return max(rows for rows in range(1, min(at_once, share) + 1) if share % rows == 0)
