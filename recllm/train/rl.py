"""The stage `rl`: reinforcement learning on the rewards of what the model recommends."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from trl import GRPOConfig

from recllm.artifacts.manifest import hash_file
from recllm.catalog.histories import Sequences, SplitRows
from recllm.config.model_section import ModelSection
from recllm.config.reward_mix import UserFunction
from recllm.config.rl_section import ALGORITHMS, NO_RL, RlSection
from recllm.config.schema import Recipe
from recllm.config.validation import dump
from recllm.errors import UserError
from recllm.models.backbone import on_device
from recllm.models.checkpoint_ids import named_checkpoint, named_identity
from recllm.models.recommender import Recommender
from recllm.models.references import BaseReference, is_adapter
from recllm.models.tuned import TunedModel, keep_precision, prepare_for_tuning
from recllm.rewards import RewardFacts, RewardMix
from recllm.train.arguments import trainer_arguments
from recllm.train.batches import accumulation_steps
from recllm.train.group_callbacks import BetweenRollouts, StartingPoint
from recllm.train.group_trainer import GroupTrainer
from recllm.train.measures import choose_measure
from recllm.train.rl_rows import RlRows, hard_first
from recllm.train.spread import SpreadRecommender
from recllm.train.stage import CHECKPOINTS, TrainingStage
from recllm.train.strategy import go_without_compiler, is_sharded
from recllm.train.trackers import check_trackers, keep_tensorboard
from recllm.world import World, alone

log = logging.getLogger(__name__)

#: Groups of a small step, where the recipe does not say how many completions one has.
GROUPS = 4


class Rl(TrainingStage):
    """Trains a checkpoint further on rewards; see the base class for what it writes.

    The model is always whole: an adapter is merged into the checkpoint it was trained on.
    """

    name = "rl"
    publishes: Mapping[str, str] = {"model": "model", "metrics.jsonl": "metrics.jsonl"}

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        if recipe.rl is None:
            raise UserError(NO_RL)
        self._section: RlSection = recipe.rl
        own = ("sft",) if recipe.rl.checkpoint is None else ()
        kinds = [share.reward for share in recipe.rl.reward_mix]
        vectors = ("embed",) if any(reward.needs_vectors for reward in kinds) else ()
        teacher = ("sasrec",) if any(reward.needs_teacher for reward in kinds) else ()
        self.parents = ("filter", "split", "sid", "rl_prompts", *own, *vectors, *teacher)

    @property
    def patience(self) -> int:
        """The evaluations without a better metric after which the training stops."""
        return self._section.patience

    def settings(self) -> dict[str, Any]:
        """The training, how items are scored, and the checkpoint where it is not this run's."""
        recipe = dump(self.recipe)
        ranking = {key: recipe["eval"][key] for key in ("scoring", "exclude_history")}
        settings = {"rl": recipe["rl"], "ranking": ranking, "dtype": self.recipe.model.dtype}
        if self._section.targets == "known":
            del settings["rl"]["targets"]  # such a training is the same as before the key
        functions = [share.reward for share in self._section.reward_mix]
        own = {f.name: hash_file(f.source) for f in functions if isinstance(f, UserFunction)}
        if own:
            settings["functions"] = own
        if self._section.checkpoint is None:
            return settings
        known = named_identity("rl.checkpoint", self._section.checkpoint)
        return settings | {"checkpoint": known}

    def check(self) -> None:
        """Refuse settings that TRL does not take, and small steps without whole groups."""
        with alone():  # the others have not come together yet
            check_trackers(self._arguments(self.recipe.output_dir).report_to)

    def untrained(self, inputs: Mapping[str, Path]) -> Recommender:
        """The checkpoint, with an adapter on it where only that is trained."""
        recommender = self._checkpoint(inputs)
        if self._section.tuning == "full":
            recommender.model.requires_grad_(True)
            return recommender
        folder = str(self._folder(inputs))
        section = ModelSection(name=folder, tuning="lora", lora=self._section.lora)
        tokens = [a.tolist() for a in recommender.trie.alphabets]
        rows = sorted({token for level in tokens for token in level})
        base = BaseReference.of(folder)
        model = prepare_for_tuning(recommender.model, section, rows, base)
        return replace(recommender, model=model)

    def _checkpoint(self, inputs: Mapping[str, Path]) -> Recommender:
        folder = self._folder(inputs)
        load = Recommender.load_merged if is_adapter(str(folder)) else Recommender.load
        recommender = load(folder)
        if World.current().size == 1:  # the trainer knows which device is whose
            on_device(recommender.model)
        ranking = self.recipe.eval
        return replace(
            recommender, scoring=ranking.scoring, exclude_history=ranking.exclude_history
        )

    def _folder(self, inputs: Mapping[str, Path]) -> Path:
        given = self._section.checkpoint
        if given is None:
            return inputs["sft"] / "model"
        return named_checkpoint("rl.checkpoint", given)

    def trainer(
        self, spread: SpreadRecommender, inputs: Mapping[str, Path], out: Path
    ) -> GroupTrainer:
        """A trainer of its model, with its checkpoints in `out`."""
        recommender, section = spread.recommender, self._section
        valid = self.validation_rows(inputs)
        validation = choose_measure(
            self.recipe, recommender, inputs, valid, section.validation_users
        )
        go_without_compiler()
        rows = self._rows(inputs)
        arguments = self._arguments(out / CHECKPOINTS, recommender.trie.depth)
        self._check_rollouts(recommender, rows)
        order = self._order(recommender, rows)
        keep_tensorboard(arguments.report_to, self.recipe.output_dir / "tensorboard")
        trainer = GroupTrainer(
            recommender,
            arguments,
            rows=rows,
            order=order,
            rollout=section.rollout,
            rewards=self._rewards(recommender, inputs).score,
            scoring=self.recipe.eval.scoring,
            exclude_history=self.recipe.eval.exclude_history,
            resample=section.resample,
            measure=lambda: spread.measure(trainer, validation),
            callbacks=self.callbacks(out),
        )
        trainer.add_callback(StartingPoint(trainer))
        trainer.add_callback(BetweenRollouts(trainer.small_steps))
        keep_precision(recommender.model)
        self.check_trainer(trainer, out)
        if is_sharded(trainer.accelerator):
            raise UserError(
                "rl needs the whole model in each process, found it in parts (ZeRO-3 or FSDP); "
                "use ddp or zero2"
            )
        if not len(trainer.get_train_dataloader()):
            raise UserError(
                f"rl: {len(rows)} prompts are fewer than one rollout takes "
                f"({trainer.groups_at_once * World.current().size}); lower rl.batch_size or "
                "rl.trainer.per_device_train_batch_size"
            )
        return trainer

    def kept(
        self, spread: SpreadRecommender, trainer: Any, inputs: Mapping[str, Path]
    ) -> dict[str, int]:
        """The best step; where none was better than the checkpoint, that is kept as it was."""
        best = trainer.state.best_global_step or 0
        if not best:
            log.warning(
                "rl: no evaluation was better than the checkpoint that was trained "
                "(validation ndcg@10 %.4f): its weights are kept",
                trainer.state.best_metric,
            )
            spread.recommender = self._checkpoint(inputs)
        elif isinstance(spread.recommender.model, TunedModel):
            merged: Any = spread.recommender.model.merge_and_unload()
            spread.recommender = replace(spread.recommender, model=merged)
        return {"best_step": best, "prompts": len(trainer.rows)}

    def _rows(self, inputs: Mapping[str, Path]) -> RlRows:
        sequences = Sequences.read(inputs["split"])
        train = SplitRows.read(inputs["split"], "train", sequences)
        rows = RlRows.read(inputs["rl_prompts"], train, sequences)
        if not self.recipe.eval.exclude_history:
            return rows
        kept = rows.without_repeats()
        if len(kept) < len(rows):
            log.info(
                "rl: %s prompts are left out: their target is in the history, which "
                "eval.exclude_history never recommends",
                f"{len(rows) - len(kept):,}",
            )
        return kept

    def _check_rollouts(self, recommender: Recommender, rows: RlRows) -> None:
        """Refuse more generations than there are items, and items that share a SID.

        Raises:
            UserError: there are more.
        """
        trie, generations = recommender.trie, self._section.generations
        if generations > len(trie):
            raise UserError(
                f"rl.generations is {generations}, but the catalogue has {len(trie)} items, and "
                f"those of a rollout differ; set it to {len(trie)} or less"
            )
        if trie.max_leaf_items > 1:
            raise UserError(
                "rl needs a SID for each item, but some items share theirs; set "
                "sid.on_collision: resolve"
            )
        if not len(rows):
            raise UserError("rl has no prompt left to train on; set eval.exclude_history: false")

    def _order(self, recommender: Recommender, rows: RlRows) -> Sequence[int] | None:
        section = self._section
        if section.order == "random":
            return None
        # Each process ranks all of them: before the trainer is made, they cannot tell each other.
        ranking = recommender.rank_prompts(
            rows.prompts,
            beams=section.generations,
            exclude=rows.histories if self.recipe.eval.exclude_history else None,
        )
        found = ranking.items == rows.targets[:, None]
        ranks = np.where(found.any(axis=1), found.argmax(axis=1), -1)
        return hard_first(ranks, finds_all=section.rollout.add_target).tolist()

    def _rewards(self, recommender: Recommender, inputs: Mapping[str, Path]) -> RewardMix:
        sequences = Sequences.read(inputs["split"])
        facts = RewardFacts(
            training=sequences.training,
            sids=recommender.sids,
            vectors=inputs.get("embed"),
            teacher=inputs.get("sasrec"),
            items=len(recommender.items),
        )
        return RewardMix(self._section.reward_mix, facts)

    def _arguments(self, folder: Path, depth: int = 1) -> GRPOConfig:
        """What recllm sets for TRL; the recipe's `trainer` block has the last word.

        Args:
            depth: tokens of an item.
        """
        section, generations = self._section, self._section.generations
        given = {"per_device_train_batch_size": GROUPS * generations} | section.trainer
        completions = given["per_device_train_batch_size"]
        if completions % generations:
            below = completions // generations * generations or generations
            raise UserError(
                f"rl.trainer.per_device_train_batch_size counts items: {completions} of them are "
                f"no whole groups of rl.generations ({generations}); set it to {below}"
            )
        if section.batch_size:
            given["gradient_accumulation_steps"] = accumulation_steps(
                section.batch_size, completions // generations, World.current().size, generations
            )
        defaults = {
            "num_generations": generations,
            "num_generations_eval": generations,
            "per_device_eval_batch_size": generations,
            "max_completion_length": depth,
            "disable_dropout": True,
            "gradient_checkpointing": False,
            # An objective that is an expectation is one of the rewards as they are.
            "scale_rewards": "none" if section.rollout.weighs_by_policy else "group",
            **ALGORITHMS[section.algorithm],
        }
        return trainer_arguments(
            GRPOConfig, self.recipe, self.name, folder=folder, defaults=defaults, given=given
        )
