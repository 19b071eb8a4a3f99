"""What ranking and training took: time, memory, tokens."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from recllm.artifacts.cache import PeakMemory
from recllm.artifacts.manifest import Manifest
from recllm.catalog.trie import Trie
from recllm.errors import UserError

#: What the last row of a training's log says of its steps.
SPEED = (
    "tokens_per_second",
    "targets_per_second",
    "samples_per_second",
    "mfu",
    "peak_gpu_memory_bytes",
)


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Fills the dictionary that it yields when the block ends.

    `seconds`; `peak_memory_bytes`, the most resident memory of this process meanwhile, whatever
    else it holds; on a GPU `peak_gpu_memory_bytes`, the most that torch had allocated there.
    """
    import torch

    cost: dict[str, float] = {}
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    started = time.monotonic()
    with PeakMemory() as memory:
        yield cost
    cost["seconds"] = round(time.monotonic() - started, 2)
    cost["peak_memory_bytes"] = memory.peak
    if on_gpu:
        cost["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated()


def count_beam_tokens(trie: Trie, rows: int, beams: int) -> int:
    """The tokens that a search of a trie follows, however it goes about it.

    For each row and level but the last as many as there are beams, or paths to choose from where
    those are fewer. A search that runs a prompt once for each beam computes more tokens; one that
    ends before the longest path does, fewer.
    """
    paths = np.diff(trie.level_start)[1:-1]
    return rows * int(np.minimum(paths, beams).sum())


def training_cost(trained: Path) -> dict[str, float]:
    """What training took, from what the stage `sft` or `rl` wrote.

    `seconds` and `peak_memory_bytes` are the whole stage's, validation included; `tokens` those
    that the model was trained on, without padding. The rates and `mfu` (see
    `recllm.train.throughput`) are of its steps alone. Of a training that was interrupted,
    `resumed_from_step` says from where on the rest is told.

    Raises:
        UserError: the folder is not an artifact.
    """
    stage = Manifest.read(trained)
    if stage is None:
        raise UserError(f"{trained}: expected the artifact of a training, found no manifest")
    log = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    cost: dict[str, float] = {
        "seconds": round(stage.seconds, 2),
        "peak_memory_bytes": stage.peak_memory_bytes,
    }
    if stage.counts.get("tokens"):
        cost["tokens"] = stage.counts["tokens"]
    resumed = stage.counts.get("resumed_from_step", 0)
    if resumed:
        cost["resumed_from_step"] = resumed
    end = next((row for row in reversed(log) if "train_loss" in row), {})
    return cost | {name: end[name] for name in SPEED if name in end}
