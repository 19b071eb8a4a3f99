"""Fine-tuning against TRL's SFTTrainer: the same rows, order, batches, weights and optimizer.

The rows are as long as those of MiniOneRec's mix on Industrial_and_Scientific. `bar` has the width
and vocabulary of Qwen2.5-0.5B with six layers, in fp32 on CPU, both as they come: TRL pads batches,
checkpoints gradients and, where there is no Triton, runs the head on every position; recllm
checkpoints them where memory asks for it. Then both with and without checkpoints, TRL at its best,
the parts of a step, and the tokens of `targets: all` against `targets: last`. Where there is a GPU,
the real shapes train on it in bf16.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils import is_flash_attn_2_available
from trl import SFTTrainer

from benchmarks._backbone import QWEN_05B, QWEN_15B, TINY, Shape, make_model
from benchmarks._harness import Row, parse_small, report
from benchmarks._sft_parts import head_seconds, layers_seconds, optimizer_seconds
from benchmarks._sft_rows import minionerec_lengths, random_rows
from benchmarks._sft_targets import tokens_per_target
from benchmarks._sft_trainers import Timed, recllm_trainer, train, trl_trainer

CODES = 1024
SIX_LAYERS = replace(QWEN_05B, layers=6)
#: The losses of the two may differ by this much in fp32.
TOLERANCE = 1e-4
HALF_TOLERANCE = 0.05
#: Both checkpoint gradients, or neither does, and TRL has batches without padding too: its best.
CPU_SETTINGS: dict[str, dict[str, Any]] = {
    "both checkpointed": {"gradient_checkpointing": True},
    "neither checkpointed": {"gradient_checkpointing": False},
    "neither checkpointed, peer without padding": {
        "gradient_checkpointing": False,
        "padding_free": True,
    },
}


@dataclass(frozen=True)
class Work:
    """How much is trained: rows a batch, batches a step, steps (the first is not timed)."""

    batch: int = 8
    parts: int = 2
    steps: int = 3
    history: int = 20


class Contest:
    """The two trainers from the same weights on the same rows."""

    def __init__(self, shape: Shape, work: Work, **settings: Any) -> None:
        self.shape, self.work = shape, work
        lengths = minionerec_lengths(work.batch * work.parts * work.steps)
        self.rows = random_rows(lengths, shape.vocabulary + CODES)
        self.settings = {
            "per_device_train_batch_size": work.batch,
            "gradient_accumulation_steps": work.parts,
        } | settings
        print(lengths, flush=True)

    def run(
        self, build: Callable[..., SFTTrainer], attention: str = "sdpa", **settings: Any
    ) -> Timed:
        """Train a fresh model with some settings, and say how it went."""
        model: PreTrainedModel = make_model(self.shape, CODES)
        model.set_attn_implementation(attention)
        timed = train(build, model, self.rows, **(self.settings | settings))
        print(f"{build.__name__} {settings}: {timed}", flush=True)
        return timed


def check(ours: Timed, theirs: Timed, tolerance: float) -> None:
    """Hold the losses of all steps to each other.

    Raises:
        SystemExit: they differ.
    """
    apart = max(abs(a - b) for a, b in zip(ours.losses, theirs.losses, strict=True))
    print(f"the losses differ by {apart:.1e} at most", flush=True)
    if apart > tolerance:
        raise SystemExit(f"sft: the losses differ by {apart}, expected {tolerance} at most")


def on_cpu(shape: Shape, work: Work) -> Iterator[Row]:
    """The bar, and both with other settings than their own."""
    contest = Contest(shape, work, use_cpu=True, bf16=False)
    ours, theirs = contest.run(recllm_trainer), contest.run(trl_trainer)
    check(ours, theirs, TOLERANCE)
    yield Row("bar", ours.rate, theirs.rate, "samples/s")
    for case, settings in CPU_SETTINGS.items():
        checkpointing = {"gradient_checkpointing": settings["gradient_checkpointing"]}
        ours = contest.run(recllm_trainer, **checkpointing)
        theirs = contest.run(trl_trainer, **settings)
        check(ours, theirs, TOLERANCE)
        yield Row(case, ours.rate, theirs.rate, "samples/s")
    half = contest.run(recllm_trainer, bf16=True, gradient_checkpointing=False)
    yield Row("bf16 (peer: recllm in fp32)", half.rate, ours.rate, "samples/s")


def parts(shape: Shape, work: Work) -> Iterator[Row]:
    """Seconds of the parts of one batch, without checkpointing."""
    model = make_model(shape, CODES).train()
    rows = random_rows(minionerec_lengths(work.batch), shape.vocabulary + CODES)
    ours, theirs = (layers_seconds(model, rows, padding_free) for padding_free in (True, False))
    yield Row("layers", ours, theirs, "s")
    ours, theirs = (head_seconds(model, rows, supervised_only=only) for only in (True, False))
    yield Row("head and loss", ours, theirs, "s")
    seconds = optimizer_seconds(model)
    yield Row("optimizer (the same)", seconds, seconds, "s")


def on_gpu(name: str, shape: Shape, work: Work) -> Iterator[Row]:
    """bf16 against TRL without padding, as it comes and without checkpoints; prints the MFU."""
    contest = Contest(shape, work, bf16=True)
    flash = "flash_attention_2" if is_flash_attn_2_available() else "sdpa"
    ours = contest.run(recllm_trainer)
    for checkpointing, said in ((True, ""), (False, ", peer not checkpointed")):
        theirs = contest.run(
            trl_trainer, flash, padding_free=True, gradient_checkpointing=checkpointing
        )
        check(ours, theirs, HALF_TOLERANCE)
        yield Row(f"{name}, bf16, without padding{said}", ours.rate, theirs.rate, "samples/s")


def measure(small: bool) -> Iterator[Row]:
    """Every case that this machine can run."""
    work = Work(batch=2, steps=2) if small else Work()
    yield from on_cpu(TINY if small else SIX_LAYERS, work)
    yield from parts(TINY if small else SIX_LAYERS, work)
    ours, theirs = tokens_per_target(work.history)
    yield Row("targets: all, peer targets: last", ours, theirs, "tokens/target")
    if torch.cuda.is_available() and not small:
        yield from on_gpu("Qwen2.5-0.5B shape", QWEN_05B, Work(batch=64, parts=1, steps=30))
        yield from on_gpu("Qwen2.5-1.5B shape", QWEN_15B, Work(batch=32, parts=1, steps=30))


def main() -> None:
    """Print the figures of every case."""
    rows = []
    for row in measure(parse_small(__doc__)):
        figures = f"{row.recllm:.4g} against {row.peer:.4g} {row.unit}"
        print(f"{row.case}: {figures}, {row.ratio:.3g} times", flush=True)
        rows.append(row)
    report("sft", rows)


if __name__ == "__main__":
    main()
