"""What is logged of rollouts: rewards, hits, groups without signal, variety, and speed."""

import time
from collections import defaultdict
from typing import Any

import torch
from accelerate import Accelerator

from recllm.train.groups import GroupBatch


class GroupFigures:
    """Adds up what rollouts gave, over all processes, between two rows of the log."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._sums: dict[str, float] = defaultdict(float)
        self._means: dict[str, list[float]] = defaultdict(list)
        self._since = time.perf_counter()

    def start(self) -> None:
        """Forget what came before."""
        self._sums.clear()
        self._means.clear()
        self._since = time.perf_counter()

    def rolled_out(self, groups: GroupBatch, thrown_away: int, seconds: float) -> None:
        """Add a rollout; every process must call this.

        Args:
            thrown_away: groups without signal that others took the place of.
            seconds: how long it took, with those that were thrown away.
        """
        exists = groups.exists
        sums = {
            "groups": len(groups),
            "items": exists.sum(),
            "group_hits": groups.hits.sum(),
            "silent_groups": groups.silent.sum(),
            "replaced_groups": thrown_away,
            "reward": groups.rewards[exists].sum(),
        }
        sums |= {f"rewards/{name}": part[exists].sum() for name, part in groups.parts.items()}
        values = torch.tensor([float(value) for value in sums.values()], dtype=torch.float64)
        device = self._accelerator.device
        total: Any = self._accelerator.reduce(values.to(device), reduction="sum")
        for name, value in zip(sums, total.tolist(), strict=True):
            self._sums[name] += value
        self._sums["rolled_out_seconds"] += seconds
        everyones: Any = self._accelerator.gather(groups.drawn.items.to(device).flatten())
        there = everyones[everyones >= 0]
        self._means["distinct_items"].append(there.unique().numel() / max(there.numel(), 1))

    def recent(self) -> dict[str, float]:
        """The figures since the last call, by name; none where nothing was rolled out."""
        sums, now = dict(self._sums), time.perf_counter()
        groups, items = sums.pop("groups", 0.0), sums.pop("items", 0.0)
        if not groups:
            return {}
        seconds, passed = sums.pop("rolled_out_seconds"), now - self._since
        rolled_out = groups + sums["replaced_groups"]
        figures = {
            "group_hit_rate": sums.pop("group_hits") / groups,
            "silent_groups": sums.pop("silent_groups") / groups,
            "replaced_groups": sums.pop("replaced_groups") / rolled_out,
            "rollouts_per_second": items / groups * rolled_out / seconds,
            "rollout_share": seconds / passed,
        }
        figures |= {name: total / items for name, total in sums.items()}
        figures |= {name: sum(values) / len(values) for name, values in self._means.items()}
        self.start()
        return figures
