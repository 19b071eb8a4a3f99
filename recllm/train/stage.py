"""What the stages that train have in common: processes, checkpoints, and what they leave."""

import json
import shutil
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from recllm.artifacts.atomic import write_text
from recllm.artifacts.stage import Stage
from recllm.catalog.histories import Sequences, SplitRows
from recllm.config.validation import dump, validate
from recllm.errors import UserError
from recllm.models.recommender import Recommender
from recllm.train.callbacks import EpochLines, MetricsFile, StepBar
from recllm.train.resume import (
    PROCESSES,
    describe_last_checkpoint,
    describe_processes,
    require_same_processes,
    train_or_resume,
)
from recllm.train.spread import SpreadRecommender, Trainable
from recllm.train.strategy import check_strategy, strategy_of
from recllm.world import World

CHECKPOINTS = "checkpoints"
SUMMARY = "summary.json"


class TrainingStage(Stage):
    """Writes `model/`, a whole recommender, `metrics.jsonl`, the training's log, and a summary.

    Where there are several processes, the first one builds the stage, and the others `assist`.
    How many there are is no part of the stage's key: what is there is not trained again, and a
    single process evaluates what several have trained.
    """

    seeded = True
    resumable = True

    @classmethod
    def invitation(cls) -> str:
        """The name under which the first process asks the others to train this stage with it."""
        return f"{cls.name}/training"

    @property
    @abstractmethod
    def patience(self) -> int:
        """The evaluations without a better metric after which the training stops."""

    @abstractmethod
    def untrained(self, inputs: Mapping[str, Path]) -> Recommender:
        """The recommender that the training starts from."""

    @abstractmethod
    def trainer(self, spread: SpreadRecommender, inputs: Mapping[str, Path], out: Path) -> Any:
        """A trainer of its model, with its checkpoints in `out`; see `Trainable`."""

    def callbacks(self, out: Path) -> list[TrainerCallback]:
        """Stop early; and, in the first process, say how far it is and keep the log in `out`."""
        stop = EarlyStoppingCallback(early_stopping_patience=self.patience)
        if not World.current().is_first:
            return [stop]
        shown = [MetricsFile(out / "metrics.jsonl"), EpochLines(self.name), StepBar(self.name)]
        return [stop, *shown]

    def check_trainer(self, trainer: Any, out: Path) -> None:
        """Refuse a trainer that is not spread as was asked for, or not as its checkpoints are.

        Raises:
            UserError: it is not.
        """
        trainer.remove_callback(PrinterCallback)
        check_strategy(trainer.accelerator)
        world = World.current()
        world.require(trainer.accelerator.num_processes)
        strategy = strategy_of(trainer.accelerator)
        require_same_processes(out / CHECKPOINTS, world.size, strategy, self.name)

    def validation_rows(self, inputs: Mapping[str, Path]) -> SplitRows:
        """All rows of the split `valid`.

        Raises:
            UserError: there are none.
        """
        valid = SplitRows.read(inputs["split"], "valid", Sequences.read(inputs["split"]))
        if not len(valid):
            raise UserError("the split has no validation rows; the best checkpoint needs some")
        return valid

    def kept(
        self, spread: SpreadRecommender, trainer: Trainable, inputs: Mapping[str, Path]
    ) -> dict[str, int]:
        """What else the summary says, once the training has ended with its best weights."""
        del spread, inputs
        state = trainer.state
        return {"best_step": state.best_global_step or state.global_step}

    def left_off(self, folder: Path) -> str | None:
        """The last checkpoint."""
        return describe_last_checkpoint(folder / CHECKPOINTS)

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Train, or go on training from the last checkpoint in `out`."""
        summary = out / SUMMARY
        if not summary.is_file():  # else a run was stopped while it deleted the checkpoints
            folders = {name: str(path.resolve()) for name, path in inputs.items()}
            World.current().tell(
                self.invitation(),
                {"recipe": dump(self.recipe), "inputs": folders, "out": str(out.resolve())},
            )
            write_text(summary, json.dumps(self._train(inputs, out), indent=2))
        if (out / CHECKPOINTS).is_dir():
            shutil.rmtree(out / CHECKPOINTS)
        return json.loads(summary.read_text(encoding="utf-8"))

    @classmethod
    def assist(cls, invitation: Mapping[str, Any]) -> None:
        """Train with the first process, which has sent this invitation; write nothing."""
        inputs = {name: Path(path) for name, path in invitation["inputs"].items()}
        cls(validate(invitation["recipe"]))._train(inputs, Path(invitation["out"]))

    def _train(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write everything but the summary, which is returned."""
        world, name = World.current(), self.name
        spread = world.together(f"{name}/model", lambda: SpreadRecommender(self.untrained(inputs)))
        trainer = world.together(f"{name}/trainer", lambda: self.trainer(spread, inputs, out))
        world.in_step = False
        strategy = strategy_of(trainer.accelerator)
        if world.is_first:
            processes = describe_processes(world.size, strategy)
            write_text(out / CHECKPOINTS / PROCESSES, json.dumps(processes))
        resumed = train_or_resume(trainer, out / CHECKPOINTS, self.patience, name)
        kept = self.kept(spread, trainer, inputs)
        spread.save(trainer, out / "model")
        world.together(f"{name}/trained", lambda: None)  # nobody reads the checkpoints any more
        world.in_step = True
        state = trainer.state
        return {
            "steps": state.global_step,
            "resumed_from_step": resumed,
            "tokens": int(state.num_input_tokens_seen),
            **kept,
            "parameters": spread.parameters,
            "processes": world.size,
        }
