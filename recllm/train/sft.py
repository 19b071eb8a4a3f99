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

from recllm.artifacts.atomic import remove, write_text
from recllm.artifacts.manifest import hash_file
from recllm.artifacts.stage import Stage
from recllm.catalog.histories import Sequences, SplitRows
from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex, read_index
from recllm.config.validation import dump
from recllm.errors import UserError
from recllm.models.backbone import load_backbone, on_device, resolve_device, resolve_dtype
from recllm.models.recommender import Recommender
from recllm.models.tokenizers import sid_token_ids
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import RECOMMENDATION_TASK, CatalogText
from recllm.prompts.template import Template
from recllm.prompts.training import check_depths
from recllm.train.augmentation import ItemDropout
from recllm.train.callbacks import EpochLines, MetricsFile, StepBar
from recllm.train.data import read_training_rows
from recllm.train.measures import Measure, best_metric, choose_measure
from recllm.train.resume import describe_last_checkpoint, train_or_resume
from recllm.train.trainer import RecommenderTrainer

CHECKPOINTS = "checkpoints"
SUMMARY = "summary.json"


class Sft(Stage):
    """Writes `model/`, a whole recommender, `metrics.jsonl`, the training's log, and a summary."""

    name = "sft"
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
        """Refuse trainer settings that TRL does not take, and a base that the run would replace."""
        self._arguments(self.recipe.output_dir)
        name, target = self.recipe.model.name, self.recipe.output_dir / "model"
        if name is not None and Path(name).resolve() == target.resolve():
            raise UserError(f"model.name is {target}, where this run puts its own model; move one")

    def left_off(self, folder: Path) -> str | None:
        """The last checkpoint."""
        return describe_last_checkpoint(folder / CHECKPOINTS)

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Train, or go on training from the last checkpoint in `out`."""
        summary = out / SUMMARY
        if not summary.is_file():  # else a run was stopped while it deleted the checkpoints
            write_text(summary, json.dumps(self._train(inputs, out), indent=2))
        if (out / CHECKPOINTS).is_dir():
            shutil.rmtree(out / CHECKPOINTS)
        return json.loads(summary.read_text(encoding="utf-8"))

    def _train(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write everything but the summary, which is returned."""
        recommender = self._untrained(inputs)
        sequences = Sequences.read(inputs["split"])
        valid = SplitRows.read(inputs["split"], "valid", sequences)
        if not len(valid):
            raise UserError("the split has no validation rows; the best checkpoint needs some")
        validation = choose_measure(self.recipe, recommender, inputs, valid)
        trainer = self._trainer(recommender, inputs["prompts"], validation, out)
        resumed = train_or_resume(trainer, out / CHECKPOINTS, self.recipe.sft.patience)
        remove(out / "model")  # a part of it, where a run was stopped while it wrote it
        recommender.save(out / "model")
        state = trainer.state
        return {
            "steps": state.global_step,
            "resumed_from_step": resumed,
            "tokens": int(state.num_input_tokens_seen),
            "best_step": state.best_global_step or state.global_step,
            "parameters": sum(p.numel() for p in recommender.model.parameters()),
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
        model = load_backbone(self.recipe.model, tokenizer, self.recipe.seed)
        ranking = self.recipe.eval
        return Recommender(on_device(model), renderer, ranking.scoring, ranking.exclude_history)

    def _trainer(
        self, recommender: Recommender, prompts: Path, validation: Measure, out: Path
    ) -> RecommenderTrainer:
        recipe = self.recipe
        token_ids = _token_ids(recommender)
        level_tokens = [torch.from_numpy(ids) for ids in token_ids]
        rows = read_training_rows(prompts / "train.parquet")
        trainer = RecommenderTrainer(
            model=recommender.model,
            args=self._arguments(out / CHECKPOINTS),
            train_dataset=rows,
            eval_dataset=rows.select([0]),  # asked for, but `measure` takes its place
            processing_class=recommender.renderer.tokenizer,
            callbacks=[
                EarlyStoppingCallback(early_stopping_patience=recipe.sft.patience),
                MetricsFile(out / "metrics.jsonl"),
                EpochLines(),
                StepBar(),
            ],
            measure=lambda: validation.measure(recommender),
            level_tokens=level_tokens if recipe.sft.loss == "level" else None,
        )
        trainer.remove_callback(PrinterCallback)
        if recipe.sft.drop_items:
            trainer.data_collator = ItemDropout(
                trainer.data_collator, token_ids, recipe.sft.drop_items, recipe.seed
            )
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
            "dataset_kwargs": {"skip_prepare_dataset": True},
            "bf16": resolve_dtype(self.recipe.model.dtype) == torch.bfloat16,
            "use_cpu": resolve_device().type == "cpu",
            "gradient_checkpointing": self.recipe.model.from_scratch is None,
            "disable_tqdm": True,  # StepBar takes its place
            "dataloader_pin_memory": resolve_device().type != "cpu",
        }
        try:
            return SFTConfig(**(defaults | self.recipe.sft.trainer))
        except (TypeError, ValueError) as error:
            said = " ".join(str(error).split())
            raise UserError(f"sft.trainer: TRL does not take these settings: {said}") from None


def _token_ids(recommender: Recommender) -> list[NDArray[np.int64]]:
    """For each level of the SIDs its tokens; no level where items go by their titles."""
    index = recommender.sids
    if not isinstance(index, SidIndex):
        return []
    return sid_token_ids(recommender.renderer.tokenizer, index)


def _model_files(name: str | None) -> dict[str, str] | None:
    """The hashes of a local model's files: another model in the same folder is another model."""
    if name is None or not Path(name).is_dir():
        return None
    return {p.name: hash_file(p) for p in sorted(Path(name).iterdir()) if p.is_file()}
