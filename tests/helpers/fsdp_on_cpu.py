"""Training under FSDP2 on the CPU, run by `accelerate launch` as a script.

PyTorch shards on the CPU too, but accelerate makes its plugin for FSDP effective on GPUs only, and
so recllm refuses it here. This makes it effective. What runs on GPUs differs by the device and by
NCCL in place of gloo; checkpoints, resuming and validation of parts are tested without.
"""

import sys
from collections.abc import Sequence
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from recllm.cli.launch import shipped_configs

_initialize: Any = AcceleratorState.__init__


def command(arguments: Sequence[str], processes: int = 2) -> list[str]:
    """What Python is to be started with for `recllm sft` or `rl` with the given arguments."""
    launch = ["-m", "accelerate.commands.launch", "--main_process_port", "0"]
    config = ["--config_file", str(shipped_configs()["fsdp2"]), "--num_processes", str(processes)]
    return [*launch, *config, __file__, *arguments]


def _shard(state: AcceleratorState, *args: Any, fsdp_plugin: Any = None, **settings: Any) -> None:
    _initialize(state, *args, fsdp_plugin=fsdp_plugin, **settings)
    if fsdp_plugin is not None and state.distributed_type == DistributedType.MULTI_CPU:
        state.fsdp_plugin = fsdp_plugin
        state.distributed_type = DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP


if __name__ == "__main__":
    setattr(AcceleratorState, "__init__", _shard)  # noqa: B010 (a checker would refuse it)
    from recllm.cli.worker import train_main as main

    del sys.argv[1]  # the command's name
    main()
