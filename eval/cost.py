"""What ranking and training took: time, memory, tokens."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recllm.artifacts.cache import PeakMemory
from recllm.artifacts.manifest import Manifest
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


def cost_of_tokens(
    rows: int, prompt_tokens: int, beam_tokens: int, seconds: float
) -> dict[str, float]:
    """The tokens of a ranking, and rows and tokens a second."""
    seconds = max(seconds, 0.01)
    return {
        "rows_per_second": round(rows / seconds, 2),
        "prompt_tokens": prompt_tokens,
        "beam_tokens": beam_tokens,
        "tokens_per_second": round((prompt_tokens + beam_tokens) / seconds, 1),
    }


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
