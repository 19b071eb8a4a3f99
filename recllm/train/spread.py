"""The recommender that a trainer trains: measured and saved, however it is spread."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch

from recllm.artifacts.atomic import remove
from recllm.models.recommender import Recommender
from recllm.train.measures import Measure
from recllm.train.strategy import is_sharded, may_be_sharded
from recllm.train.whole_weights import Skeleton
from recllm.world import World


class Trainable(Protocol):
    """What is used of a trainer."""

    model: Any
    args: Any
    state: Any
    accelerator: Any


class SpreadRecommender:
    """A recommender in one process or in several, whole in each of them or in parts.

    Every process must call each method that takes a trainer.
    """

    def __init__(self, recommender: Recommender) -> None:
        """Remember a recommender's structure, before a trainer wraps its model."""
        self.recommender = recommender
        self.parameters = sum(p.numel() for p in recommender.model.parameters())
        self._world = World.current()
        self._skeleton = Skeleton(recommender.model) if may_be_sharded() else None

    def measure(self, trainer: Trainable, validation: Measure) -> dict[str, float]:
        """The same validation metrics in every process, each of which does a part of the rows."""
        rank, size = self._world.rank, self._world.size
        device = trainer.accelerator.device
        dtype = torch.bfloat16 if trainer.args.bf16 else None  # half of what the search must hold
        recommender = self._whole(trainer, keep=True, device=device, dtype=dtype)
        if size == 1:
            return validation.metrics(validation.values(recommender))
        part = validation.part(rank, size)
        values = torch.zeros(len(validation), dtype=torch.float64, device=device)
        if len(part):
            values[rank::size] = torch.from_numpy(part.values(recommender)).to(values)
        torch.distributed.all_reduce(values)  # each row is one process's, 0 in the others
        return validation.metrics(values.cpu().numpy())

    def save(self, trainer: Trainable, folder: Path) -> None:
        """Write the whole recommender, from the first process."""
        first = self._world.is_first
        recommender = self._whole(trainer, keep=first, device=torch.device("cpu"))
        if first:
            remove(folder)  # a part of it, where a run was stopped while it wrote it
            recommender.save(folder)

    def _whole(
        self,
        trainer: Trainable,
        keep: bool,
        device: torch.device,
        dtype: torch.dtype | None = None,
    ) -> Recommender:
        """The recommender with whole weights; of no use where they were not to be kept."""
        if self._skeleton is None or not is_sharded(trainer.accelerator):
            return self.recommender
        trained: Any = trainer.model
        model = self._skeleton.filled_from(trained, keep=keep, device=device, dtype=dtype)
        return self.recommender if model is None else replace(self.recommender, model=model)
