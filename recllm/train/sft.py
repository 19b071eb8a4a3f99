"""The stage `sft`: supervised fine-tuning of the backbone on the training rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer
from trl import SFTConfig

from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex, read_index
from recllm.config.schema import Recipe
from recllm.config.validation import dump
from recllm.errors import UserError
from recllm.models.backbone import load_backbone, on_device
from recllm.models.model_names import identity
from recllm.models.recommender import Recommender
from recllm.models.references import BaseReference, file_hashes, is_adapter
from recllm.models.tokenizers import sid_token_ids
from recllm.models.tuned import check_tuning, keep_precision
from recllm.prompts.renderer import Renderer
from recllm.prompts.tasks import RECOMMENDATION_TASK, CatalogText
from recllm.prompts.template import Template
from recllm.prompts.training import check_depths
from recllm.train.activations import activations_fit
from recllm.train.arguments import trainer_arguments
from recllm.train.augmentation import ItemDropout
from recllm.train.batches import accumulation_steps
from recllm.train.data import read_training_rows, row_lengths
from recllm.train.fits import check_memory
from recllm.train.measures import choose_measure
from recllm.train.spread import SpreadRecommender
from recllm.train.stage import CHECKPOINTS, TrainingStage
from recllm.train.strategy import go_without_compiler
from recllm.train.trackers import check_trackers, keep_tensorboard
from recllm.train.trainer import RecommenderTrainer
from recllm.world import World, alone


class Sft(TrainingStage):
    """Fine-tunes the backbone on the training rows; see the base class for what it writes."""

    name = "sft"
    version = 2  # batches have no padding, and are the same for any number of processes
    parents = ("filter", "split", "sid", "prompts")

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        # Where reinforcement learning follows, its model is the run's.
        place = "sft/" if recipe.rl else ""
        self.publishes = {name: f"{place}{name}" for name in ("model", "metrics.jsonl")}

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

    @property
    def patience(self) -> int:
        """The evaluations without a better metric after which the training stops."""
        return self.recipe.sft.patience

    def untrained(self, inputs: Mapping[str, Path]) -> Recommender:
        """The backbone with its new tokens."""
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

    def trainer(
        self, spread: SpreadRecommender, inputs: Mapping[str, Path], out: Path
    ) -> RecommenderTrainer:
        """A trainer of its model, with its checkpoints in `out`."""
        recipe, recommender = self.recipe, spread.recommender
        valid, size = self.validation_rows(inputs), recipe.sft.validation_users
        validation = choose_measure(recipe, recommender, inputs, valid, size)
        token_ids = _token_ids(recommender)
        level_tokens = [torch.from_numpy(ids) for ids in token_ids]
        go_without_compiler()
        rows = read_training_rows(inputs["prompts"] / "train.parquet")
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
            callbacks=self.callbacks(out),
            measure=lambda: spread.measure(trainer, validation),
            level_tokens=level_tokens if recipe.sft.loss == "level" else None,
        )
        keep_precision(recommender.model)
        if recipe.sft.drop_items:
            trainer.data_collator = ItemDropout(
                trainer.data_collator, token_ids, recipe.sft.drop_items, recipe.seed
            )
        self.check_trainer(trainer, out)
        return trainer

    def _arguments(self, folder: Path) -> SFTConfig:
        """What recllm sets for TRL; the recipe's `trainer` block has the last word."""
        section = self.recipe.sft
        defaults = {
            "include_num_input_tokens_seen": "non_padding",
            "max_length": None,
            "padding_free": True,
            "dataset_kwargs": {"skip_prepare_dataset": True},
        }
        arguments = trainer_arguments(
            SFTConfig,
            self.recipe,
            self.name,
            folder=folder,
            defaults=defaults,
            given=section.trainer,
        )
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
    """The hashes of a local model's files: another model in the same folder is another model.

    Of a recommender on the Hub its commit there.
    """
    if name is None or not Path(name).is_dir():
        return None if name is None else identity(name)
    hashes: dict[str, Any] = dict(file_hashes(Path(name)))
    if is_adapter(name):
        base = BaseReference.of_adapter(Path(name)).name
        hashes["base"] = _model_files(base) if Path(base).is_dir() else None
    return hashes
