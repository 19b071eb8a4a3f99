"""Killing a training of one or several processes at a checkpoint."""

import signal
import time

import psutil
from faults import Place, Started


def wait_for_checkpoint(started: Started, place: Place, step: int, stage: str = "sft") -> None:
    """Wait until the checkpoint of a step is whole."""
    written = f"{stage}/*.partial/checkpoints/checkpoint-{step}/trainer_state.json"

    def reached() -> bool:
        time.sleep(0.01)
        return any(place.cache.glob(written))

    assert started.wait_until(reached)


def kill_all(started: Started) -> None:
    """Kill the command and every process that it has started, at once."""
    parent = psutil.Process(started.process.pid)
    for process in [*parent.children(recursive=True), parent]:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs([parent], timeout=60)
