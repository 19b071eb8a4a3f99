"""The stage `sft`: supervised fine-tuning of the backbone on the training rows."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer, EarlyStoppingCallback
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig

from recllm.artifacts.atomic import write_text
from recllm.artifacts.manifest import hash_file
from recllm.artifacts.stage import Stage
from recllm.catalog.histories import Sequences, SplitRows
from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex, read_index
from recllm.config.validation import dump, validate
from recllm.errors import UserError
from recllm.models.backbone import load_backbone, on_device
from recllm.models.devices import resolve_device, resolve_dtype
from recllm.models.recommender import Recommender
from recllm.models.references import BaseReference, is_adapter
from recllm.models.tokenizers import sid_token_ids
from recllm.models.tuned import check_tuning, keep_precision
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import RECOMMENDATION_TASK, CatalogText
from recllm.prompts.template import Template
from recllm.prompts.training import check_depths
from recllm.train.activations import activations_fit
from recllm.train.augmentation import ItemDropout
from recllm.train.batches import accumulation_steps
from recllm.train.callbacks import EpochLines, MetricsFile, StepBar
from recllm.train.data import read_training_rows, row_lengths
from recllm.train.fits import check_memory
from recllm.train.measures import best_metric, choose_measure
from recllm.train.resume import (
    PROCESSES,
    describe_last_checkpoint,
    describe_processes,
    require_same_processes,
    train_or_resume,
)
from recllm.train.spread import SpreadRecommender
from recllm.train.strategy import check_strategy, go_without_compiler, strategy_of
from recllm.train.trackers import check_trackers, keep_tensorboard
from recllm.train.trainer import RecommenderTrainer
from recllm.train.world import World, alone

CHECKPOINTS = "checkpoints"
SUMMARY = "summary.json"
#: What the first process tells the others when they are to train with it.
INVITATION = "training"


class Sft(Stage):
    """Writes `model/`, a whole recommender, `metrics.jsonl`, the training's log, and a summary.

    Where there are several processes, the first one builds the stage, and the others `assist`.
    How many there are is no part of the stage's key: what is there is not trained again, and a
    single process evaluates what several have trained.
    """

    name = "sft"
    version = 2  # batches have no padding, and are the same for any number of processes
    parents = ("filter", "split", "sid", "prompts")
    seeded = True
    resumable = True
    publishes: ClassVar[dict[str, str]] = {"model": "model", "metrics.jsonl": "metrics.jsonl"}

    def settings(self) -> dict[str, Any]:
        """The model, the training, and how the best checkpoint is chosen."""
        recipe = dump(self.recipe)
        ranking = {key: recipe["eval"][key] for key in ("scoring", "exclude_history")}
        model = recipe["model"] | {"files": _model_files(self.recipe.model.name)}
        settings = {"model": model, "sft": recipe["sft"], "validation": ranking}
        task = self.recipe.asked_by.name
        return settings if task == RECOMMENDATION_TASK else settings | {"asked_by": task}

    def check(self) -> None:
        """Refuse settings that TRL or the GPU does not take, and a base that cannot be used."""
        with alone():  # the others have not come together yet
            arguments = self._arguments(self.recipe.output_dir)
            check_trackers(arguments.report_to)
        name, target = self.recipe.model.name, self.recipe.output_dir / "model"
        if name is not None and Path(name).resolve() == target.resolve():
            raise UserError(f"model.name is {target}, where this run puts its own model; move one")
        check_tuning(self.recipe)
        check_memory(self.recipe, arguments, rows=0, length=0)

    def left_off(self, folder: Path) -> str | None:
        """The last checkpoint."""
        return describe_last_checkpoint(folder / CHECKPOINTS)

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Train, or go on training from the last checkpoint in `out`."""
        summary = out / SUMMARY
        if not summary.is_file():  # else a run was stopped while it deleted the checkpoints
            folders = {name: str(path.resolve()) for name, path in inputs.items()}
            World.current().tell(
                INVITATION,
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
        world = World.current()
        spread = world.together("model", lambda: SpreadRecommender(self._untrained(inputs)))
        trainer = world.together("trainer", lambda: self._trainer(spread, inputs, out))
        world.in_step = False
        strategy = strategy_of(trainer.accelerator)
        if world.is_first:
            processes = describe_processes(world.size, strategy)
            write_text(out / CHECKPOINTS / PROCESSES, json.dumps(processes))
        resumed = train_or_resume(trainer, out / CHECKPOINTS, self.recipe.sft.patience)
        spread.save(trainer, out / "model")
        world.together("trained", lambda: None)  # nobody reads the checkpoints any more
        state = trainer.state
        return {
            "steps": state.global_step,
            "resumed_from_step": resumed,
            "tokens": int(state.num_input_tokens_seen),
            "best_step": state.best_global_step or state.global_step,
            "parameters": spread.parameters,
            "processes": world.size,
        }

    def _untrained(self, inputs: Mapping[str, Path]) -> Recommender:
        tokenizer = AutoTokenizer.from_pretrained(inputs["prompts"] / "tokenizer")
        catalog = CatalogText(
            Items.read(inputs["filter"] / "items.parquet"),
            read_index(inputs["sid"] / "sids.parquet"),
        )
        check_depths(self.recipe, catalog.sids)
        template = Template.load(self.recipe.prompts.template)
        shown = self.recipe.prompts.max_history
        renderer = Renderer(template, catalog, tokenizer, shown, self.recipe.asked_by)
        model = load_backbone(self.recipe.model, tokenizer, self.recipe.seed, catalog)
        if World.current().size == 1:  # the trainer knows which device is whose
            on_device(model)
        ranking = self.recipe.eval
        return Recommender(model, renderer, ranking.scoring, ranking.exclude_history)

    def _trainer(
        self, spread: SpreadRecommender, inputs: Mapping[str, Path], out: Path
    ) -> RecommenderTrainer:
        recipe, recommender, world = self.recipe, spread.recommender, World.current()
        valid = SplitRows.read(inputs["split"], "valid", Sequences.read(inputs["split"]))
        if not len(valid):
            raise UserError("the split has no validation rows; the best checkpoint needs some")
        validation = choose_measure(recipe, recommender, inputs, valid)
        token_ids = _token_ids(recommender)
        level_tokens = [torch.from_numpy(ids) for ids in token_ids]
        go_without_compiler()
        rows = read_training_rows(inputs["prompts"] / "train.parquet")
        shown = [MetricsFile(out / "metrics.jsonl"), EpochLines(), StepBar()]
        lengths = row_lengths(rows)
        arguments = self._arguments(out / CHECKPOINTS)
        check_memory(recipe, arguments, sum(map(len, token_ids)), int(lengths.max()))
        keep_tensorboard(arguments.report_to, recipe.output_dir / "tensorboard")
        if "gradient_checkpointing" not in recipe.sft.trainer:
            arguments.gradient_checkpointing = not activations_fit(
                recommender.model,
                lengths,
                arguments.per_device_train_batch_size,
                half=bool(arguments.bf16 or arguments.fp16),
            )
        trainer = RecommenderTrainer(
            model=recommender.model,
            args=arguments,
            train_dataset=rows,
            eval_dataset=rows.select([0]),  # asked for, but `measure` takes its place
            processing_class=recommender.renderer.tokenizer,
            callbacks=[
                EarlyStoppingCallback(early_stopping_patience=recipe.sft.patience),
                *(shown if world.is_first else ()),
            ],
            measure=lambda: spread.measure(trainer, validation),
            level_tokens=level_tokens if recipe.sft.loss == "level" else None,
        )
        trainer.remove_callback(PrinterCallback)
        keep_precision(recommender.model)
        if recipe.sft.drop_items:
            trainer.data_collator = ItemDropout(
                trainer.data_collator, token_ids, recipe.sft.drop_items, recipe.seed
            )
        check_strategy(trainer.accelerator)
        world.require(trainer.accelerator.num_processes)
        strategy = strategy_of(trainer.accelerator)
        require_same_processes(out / CHECKPOINTS, world.size, strategy)
        return trainer

    def _arguments(self, folder: Path) -> SFTConfig:
        """What recllm sets for TRL; the recipe's `trainer` block has the last word."""
        defaults: dict[str, Any] = {
            "output_dir": str(folder),
            "seed": self.recipe.seed,
            "eval_strategy": "epoch",
            "save_strategy": "epoch",
            # With 1 the trainer deletes the last checkpoint before the model is saved, and a kill
            # between the two would cost all since the best one.
            "save_total_limit": 2,
            "include_num_input_tokens_seen": "non_padding",
            "load_best_model_at_end": True,
            "metric_for_best_model": f"eval_{best_metric(self.recipe)}",
            "greater_is_better": True,
            "restore_callback_states_from_checkpoint": True,
            "logging_steps": 20,
            "max_length": None,
            "padding_free": True,
            "dataset_kwargs": {"skip_prepare_dataset": True},
            "bf16": resolve_dtype(self.recipe.model.dtype) == torch.bfloat16,
            "use_cpu": resolve_device().type == "cpu",
            "disable_tqdm": True,  # StepBar takes its place
            "log_level_replica": "error",  # the first process says it
            "ddp_find_unused_parameters": False,  # all that are trained are used
            "dataloader_pin_memory": resolve_device().type != "cpu",
        }
        section = self.recipe.sft
        try:
            arguments = SFTConfig(**(defaults | section.trainer))
        except (TypeError, ValueError) as error:
            said = " ".join(str(error).split())
            raise UserError(f"sft.trainer: TRL does not take these settings: {said}") from None
        if section.batch_size:
            rows, processes = arguments.per_device_train_batch_size, World.current().size
            steps = accumulation_steps(section.batch_size, rows, processes)
            arguments.gradient_accumulation_steps = steps
        return arguments


def _token_ids(recommender: Recommender) -> list[NDArray[np.int64]]:
    """For each level of the SIDs its tokens; no level where items go by their titles."""
    index = recommender.sids
    if not isinstance(index, SidIndex):
        return []
    return sid_token_ids(recommender.renderer.tokenizer, index)


def _model_files(name: str | None) -> dict[str, Any] | None:
    """The hashes of a local model's files: another model in the same folder is another model."""
    if name is None or not Path(name).is_dir():
        return None
    hashes: dict[str, Any] = {
        p.name: hash_file(p) for p in sorted(Path(name).iterdir()) if p.is_file()
    }
    if is_adapter(name):
        hashes["base"] = _model_files(BaseReference.of_adapter(Path(name)).name)
    return hashes
