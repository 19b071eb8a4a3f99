"""Going on with a training that was interrupted, as if it had not been."""

import json
import logging
import shutil
from itertools import takewhile
from pathlib import Path
from typing import Any

from transformers import Trainer
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from recllm.artifacts.atomic import write_text
from recllm.errors import UserError
from recllm.world import World

log = logging.getLogger(__name__)

STATE = "trainer_state.json"
#: Says in how many processes, and how spread over them, the checkpoints beside it were written.
PROCESSES = "processes.json"


def train_or_resume(trainer: Trainer, checkpoints: Path, patience: int, stage: str) -> int:
    """Train from the last whole checkpoint, or from the start where there is none.

    Returns:
        The step that training went on from.

    A training that had stopped early when it was killed is not trained further: its best
    checkpoint is loaded.
    """
    name = World.current().from_first(
        f"{stage}/checkpoint", lambda: _prepare_checkpoints(checkpoints, stage)
    )
    if name is None:
        trainer.train()
        return 0
    last = checkpoints / name
    state = TrainerState.load_from_json(str(last / STATE))
    if evaluations_without_gain(state) >= patience:
        trainer.state = state
        # Nothing is wrapped around the model yet: it takes the whole weights, as one process does.
        trainer.is_deepspeed_enabled = trainer.is_fsdp_enabled = False
        trainer._load_best_model()
    else:
        trainer.train(resume_from_checkpoint=str(last))
    return state.global_step


def require_same_processes(checkpoints: Path, processes: int, strategy: str, stage: str) -> None:
    """Refuse to go on from checkpoints that were written in another number of processes.

    Each has files of its own, and batches would be other ones.

    Raises:
        UserError: there is such a checkpoint.
    """
    last = last_whole_checkpoint(checkpoints)
    try:
        written = json.loads((checkpoints / PROCESSES).read_bytes())
    except (OSError, ValueError):
        written = describe_processes(1, "one process")
    if last is not None and written != describe_processes(processes, strategy):
        raise UserError(
            f"{last}: expected a checkpoint of {processes} process(es) ({strategy}), found one of "
            f"{written.get('processes')} ({written.get('strategy')}); go on with as many (recllm "
            f"{stage} RECIPE --accelerate NAME --processes N), or delete {checkpoints} to start "
            "anew"
        )


def describe_processes(processes: int, strategy: str) -> dict[str, Any]:
    """What stands beside checkpoints."""
    return {"processes": processes, "strategy": strategy}


def _prepare_checkpoints(checkpoints: Path, stage: str) -> str | None:
    """The name of the checkpoint to go on from; others that are newer are deleted."""
    last = last_whole_checkpoint(checkpoints)
    for cut_off in _newer_than(last, checkpoints):
        log.warning("%s: %s is not whole; deleting it", stage, cut_off.name)
        shutil.rmtree(cut_off)
    if last is None:
        return None
    log.info("%s: going on from %s", stage, last.name)
    _find_best_again(last)
    return last.name


def _find_best_again(checkpoint: Path) -> None:
    """Name the best checkpoint by where it is now: the cache may have been moved since.

    The trainer goes on with the last weights instead, where it does not find the best ones.
    """
    state = json.loads((checkpoint / STATE).read_bytes())
    if state.get("best_global_step"):
        best = checkpoint.with_name(f"{PREFIX_CHECKPOINT_DIR}-{state['best_global_step']}")
        if state["best_model_checkpoint"] != str(best):
            state["best_model_checkpoint"] = str(best)
            write_text(checkpoint / STATE, json.dumps(state, indent=2))


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; the trainer writes its state last."""
    return next(filter(_is_whole, _newest_first(folder)), None)


def _newer_than(checkpoint: Path | None, folder: Path) -> list[Path]:
    return list(takewhile(lambda path: path != checkpoint, _newest_first(folder)))


def _newest_first(folder: Path) -> list[Path]:
    steps = {path: path.name.removeprefix(f"{PREFIX_CHECKPOINT_DIR}-") for path in folder.glob("*")}
    found = [path for path, step in steps.items() if step.isdecimal()]
    return sorted(found, key=lambda path: -int(steps[path]))


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / STATE).read_bytes())
    except (OSError, ValueError):
        return False
    return True


def describe_last_checkpoint(folder: Path) -> str | None:
    """The checkpoint that a training would go on from, in words; None where there is none."""
    last = last_whole_checkpoint(folder)
    if last is None:
        return None
    state = TrainerState.load_from_json(str(last / STATE))
    return f"epoch {state.epoch or 0:.3g} of {state.num_train_epochs} ({last.name})"


def evaluations_without_gain(state: TrainerState) -> int:
    """How many evaluations the best metric has not been beaten for."""
    callbacks: Any = state.stateful_callbacks  # a mapping, though annotated as a list
    attributes = (callbacks or {}).get("EarlyStoppingCallback", {}).get("attributes", {})
    return int(attributes.get("early_stopping_patience_counter", 0))
