"""`recllm sft --accelerate`: start the processes of one command, and end as they end."""

import importlib.util
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from recllm.cli.interruption import end_with_parent
from recllm.config.registry import unknown_name
from recllm.errors import UserError
from recllm.world import ASKED, OUTCOME

log = logging.getLogger(__name__)

#: Ctrl-C on a terminal is for all processes. If it was for this one alone, the launcher is told.
GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class Launch:
    """A command that starts `processes` processes of one training or evaluation."""

    command: list[str]
    processes: int

    def __str__(self) -> str:
        """As one would type it."""
        return shlex.join([Path(self.command[0]).name, *self.command[1:]])


def plan_launch(
    name: str, processes: int | None, arguments: Sequence[str], module: str = "recllm.train"
) -> Launch:
    """The call of `accelerate launch` for a configuration of accelerate.

    Args:
        name: a shipped configuration, or a YAML file.
        processes: how many to start; by default one for each GPU, or as the configuration says
            where it is the user's or there is no GPU.
        arguments: of `python -m MODULE`.

    Raises:
        UserError: the configuration is unknown, or cannot be used on this machine.
    """
    path = find_config(name)
    config = read_config(path)
    gpus = _count_gpus()
    processes = processes or _default_processes(config, gpus, shipped=name in shipped_configs())
    _check(name, config, processes, gpus)
    port = [] if config.get("num_machines", 1) > 1 else ["--main_process_port", "0"]  # a free one
    command = [
        *(_accelerate(), "launch", "--config_file", str(path)),
        *("--num_processes", str(processes), *port, "-m", module, *arguments),
    ]
    return Launch(command, processes)


def run_launch(launch: Launch) -> int:
    """Run it to its end, Ctrl-C passed on; its exit code, that of a user's mistake among them."""
    with tempfile.TemporaryDirectory(prefix="recllm-") as folder:
        outcome = Path(folder) / "outcome"
        told = {ASKED: str(launch.processes), OUTCOME: str(outcome)}
        if not _count_gpus():
            told["DS_ACCELERATOR"] = "cpu"  # or DeepSpeed, where installed, warns of it
        started = subprocess.Popen(  # no threads have been started yet, which preexec_fn must not
            launch.command,
            env=os.environ | told,
            preexec_fn=end_with_parent,  # noqa: PLW1509
        )
        code = _wait(started)
        return int(outcome.read_text()) if outcome.is_file() else int(code != 0)


def _wait(started: subprocess.Popen[bytes]) -> int:
    try:
        return started.wait()
    except KeyboardInterrupt:
        pass
    try:
        return started.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        started.send_signal(signal.SIGINT)
        return started.wait()


def shipped_configs() -> dict[str, Path]:
    """The configurations that come with recllm, by name."""
    folder = Path(str(resources.files("recllm.recipes"))) / "accelerate"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_config(name: str) -> Path:
    """The file of a configuration: a shipped one's name, or a path.

    Raises:
        UserError: it is neither.
    """
    shipped = shipped_configs()
    if name in shipped:
        return shipped[name]
    if Path(name).is_file():
        return Path(name)
    if name.endswith((".yaml", ".yml")):
        raise UserError(f"--accelerate: {name}: there is no such file")
    raise UserError(f"--accelerate: {unknown_name('configuration', name, shipped)}, or a YAML file")


def read_config(path: Path) -> dict[str, Any]:
    """The keys of a configuration.

    Raises:
        UserError: it is none of accelerate's.
    """
    try:
        keys = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"--accelerate: {path} cannot be read: {problem}") from None
    if not isinstance(keys, dict) or "distributed_type" not in keys:
        raise UserError(
            f"--accelerate: {path}: expected a configuration of accelerate with distributed_type, "
            "found none; `accelerate config` writes one"
        )
    return keys


def _default_processes(config: dict[str, Any], gpus: int, *, shipped: bool) -> int:
    stated = config.get("num_processes")
    if gpus and (shipped or not isinstance(stated, int)):
        return gpus
    if not isinstance(stated, int):
        raise UserError("--processes: there is no GPU here; say how many processes to start")
    return stated


def _check(name: str, config: dict[str, Any], processes: int, gpus: int) -> None:
    """Refuse what accelerate would end with a traceback, or would silently do otherwise."""
    kind, machines = str(config["distributed_type"]), config.get("num_machines", 1)
    here = processes // machines
    if gpus and not config.get("use_cpu") and here > gpus:
        raise UserError(
            f"--processes: expected at most one for each GPU of this machine ({gpus}), found {here}"
        )
    if kind == "DEEPSPEED" and importlib.util.find_spec("deepspeed") is None:
        raise UserError(
            f"--accelerate: {name} needs DeepSpeed, which is not installed: "
            "pip install 'recllm[deepspeed]'"
        )
    if kind == "DEEPSPEED":
        _warn_of_locks()
    if kind == "FSDP" and not gpus:
        raise UserError(
            f"--accelerate: {name} shards the model with FSDP, which accelerate does on GPUs only, "
            "and there is none here; use ddp or zero3"
        )
    if kind == "NO" and processes > 1:
        raise UserError(
            f"--accelerate: {name} has distributed_type: 'NO', with which accelerate starts one "
            f"process, but {processes} are asked for; use one of {', '.join(shipped_configs())}"
        )


def _warn_of_locks() -> None:
    """Say so where DeepSpeed would wait for ever: a compilation that was killed leaves its lock."""
    from torch.utils.cpp_extension import get_default_build_root

    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR") or get_default_build_root())
    for lock in sorted(root.glob("**/lock")):
        log.warning(
            "%s: another process compiles DeepSpeed's code there, or was killed when it did; "
            "training waits until this file is gone: delete it if nothing else is running", lock,
        )  # fmt: skip


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _accelerate() -> str:
    """The `accelerate` of this Python."""
    folders = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    found = shutil.which("accelerate", path=folders)
    if found is None:
        raise UserError("--accelerate: found no `accelerate` command; pip install accelerate")
    return found
