"""Going on with a training that was interrupted, as if it had not been."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from transformers import Trainer
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import get_last_checkpoint

log = logging.getLogger(__name__)

STATE = "trainer_state.json"


def train_or_resume(trainer: Trainer, checkpoints: Path, patience: int) -> int:
    """Train from the last whole checkpoint, or from the start where there is none.

    Returns:
        The step that training went on from.

    A training that had stopped early when it was killed is not trained further: its best
    checkpoint is loaded.
    """
    last = last_whole_checkpoint(checkpoints)
    if last is None:
        trainer.train()
        return 0
    log.info("sft: going on from %s", last.name)
    state = TrainerState.load_from_json(str(last / STATE))
    if evaluations_without_gain(state) >= patience:
        trainer.state = state
        trainer._load_best_model()
    else:
        trainer.train(resume_from_checkpoint=str(last))
    return state.global_step


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; those cut off by a kill are removed.

    The trainer writes a checkpoint's state last.
    """
    while folder.is_dir() and (found := get_last_checkpoint(str(folder))):
        try:
            json.loads((Path(found) / STATE).read_bytes())
            return Path(found)
        except (OSError, ValueError):
            log.warning("sft: %s is not whole; going back to the one before", Path(found).name)
            shutil.rmtree(found)
    return None


def evaluations_without_gain(state: TrainerState) -> int:
    """How many evaluations the best metric has not been beaten for."""
    callbacks: Any = state.stateful_callbacks  # a mapping, though annotated as a list
    attributes = (callbacks or {}).get("EarlyStoppingCallback", {}).get("attributes", {})
    return int(attributes.get("early_stopping_patience_counter", 0))
