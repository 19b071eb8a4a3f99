"""How a training is spread over processes, and whether it is as was asked for."""

import os

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from recllm.errors import UserError

#: What accelerate's launcher sets where its configuration says so.
DEEPSPEED, FSDP = "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP"


def strategy_of(accelerator: Accelerator) -> str:
    """`one process`, `ddp`, `zero2` (or another stage) or `fsdp`."""
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        return f"zero{_stage(accelerator)}"
    if accelerator.distributed_type == DistributedType.FSDP:
        return "fsdp"
    return "one process" if accelerator.distributed_type == DistributedType.NO else "ddp"


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether a process holds only a part of each weight."""
    return strategy_of(accelerator) in ("zero3", "fsdp")


def go_without_compiler() -> None:
    """Keep DeepSpeed from compiling an operation of its own for collectives on the CPU.

    Only its inference uses that; it would take a C++ compiler and a minute.
    """
    if _is_set(DEEPSPEED) and not torch.cuda.is_available():
        import deepspeed.ops  # type: ignore[import-not-found]

        # Its own probe would leave all that it can compile here.
        deepspeed.ops.__compatible_ops__ = {}  # type: ignore[attr-defined]


def may_be_sharded() -> bool:
    """Whether a process may come to hold only a part of each weight, as accelerate was told."""
    return _is_set(DEEPSPEED) or _is_set(FSDP)


def check_strategy(accelerator: Accelerator) -> None:
    """Refuse a training that accelerate would silently spread in another way than it was told.

    Raises:
        UserError: it would.
    """
    found = strategy_of(accelerator)
    for setting, name, start, advice in (
        (DEEPSPEED, "DeepSpeed", "zero", "accelerate turns it off where it is told to use the CPU"),
        (FSDP, "FSDP", "fsdp", "accelerate shards on GPUs only; use ddp or zero3 here"),
    ):
        if _is_set(setting) and not found.startswith(start):
            raise UserError(
                f"expected a training under {name}, as accelerate's configuration says, "
                f"found {found}: {advice}"
            )


def _is_set(setting: str) -> bool:
    return os.environ.get(setting, "false").lower() == "true"


def _stage(accelerator: Accelerator) -> int:
    plugin = accelerator.state.deepspeed_plugin
    return 0 if plugin is None else int(plugin.zero_stage)
