"""TRL's GRPOTrainer on whole groups: rollouts by the decoding engine, prompts computed once.

TRL's own trainer generates completions, scores each with a copy of its prompt, and shuffles them
before it splits them into small steps. Here a group stays together, in one process and one small
step, since all its completions are scored in one forward over their prompt. The losses are TRL's.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel
from trl import GRPOConfig, GRPOTrainer

from recllm.config.eval_section import Scoring
from recllm.decoding.engine import TreeDecoder, in_eval_mode
from recllm.decoding.noise import row_seeds
from recllm.models.recommender import Recommender
from recllm.rewards import Groups, RewardScores
from recllm.train.group_batches import GroupBatches, replacement
from recllm.train.group_figures import GroupFigures
from recllm.train.group_scores import GroupScores
from recllm.train.groups import GroupBatch, MicroBatch, seen_by_rewards
from recllm.train.measured import Measured, causal_lm
from recllm.train.path_scoring import add_path_scores
from recllm.train.reference import Reference
from recllm.train.rl_rows import RlRows
from recllm.train.rollouts import Rollout


class GroupTrainer(Measured, GRPOTrainer):
    """Trains a recommender on the rewards of what it recommends.

    Args:
        recommender: its model is trained.
        args: TRL's settings; a small step must have whole groups.
        rows: the prompts.
        order: the order of rows, the same in each epoch; None: drawn anew for each.
        rollout, rewards: how items are found for a prompt, and what they are worth.
        scoring, exclude_history: as in evaluation.
        resample: how often a group without signal is replaced.
        measure: called at each evaluation; returns metrics by name.
    """

    args: Any  # GRPOConfig, which TRL's trainers declare to be TrainingArguments

    def __init__(
        self,
        recommender: Recommender,
        args: GRPOConfig,
        *,
        rows: RlRows,
        order: Sequence[int] | None,
        rollout: Rollout,
        rewards: Callable[[Groups], RewardScores],
        scoring: Scoring,
        exclude_history: bool,
        resample: int,
        measure: Callable[[], dict[str, float]],
        **options: Any,
    ) -> None:
        model: Any = recommender.model
        self.rows, self.order = rows, order
        self.recommender, self.rollout, self.rewards = recommender, rollout, rewards
        self.scoring: Scoring = scoring
        self.exclude_history, self.resample = exclude_history, resample
        self.measure = measure
        # TRL would load the reference anew from where the model came from.
        beta, synced = args.beta, args.sync_ref_model
        args.beta, args.sync_ref_model = 0.0, False
        places = Dataset.from_dict({"prompt": list(range(len(rows)))})
        unused: Any = _unused_reward
        super().__init__(
            model,
            unused,
            args,
            train_dataset=places,
            eval_dataset=places.select([0]),  # asked for, but `measure` takes its place
            processing_class=recommender.renderer.tokenizer,
            **options,
        )
        args.beta, args.sync_ref_model = beta, synced
        self.beta = beta
        self.generations: int = args.num_generations or 1
        self.causal_lm: PreTrainedModel = causal_lm(self.model)
        add_path_scores(self.causal_lm)
        self.reference = Reference(model, args, self.accelerator.device) if beta else None
        if self.reference is not None:
            self.add_callback(self.reference)
        self.figures = GroupFigures(self.accelerator)
        self.scores = GroupScores(
            recommender.trie,
            scoring,
            exclude_history,
            groups_at_once=self.args.per_device_train_batch_size // self.generations,
            autocast=lambda: self.accelerator.autocast(),
        )
        self._decoder: TreeDecoder | None = None
        self._micro_batches: list[MicroBatch] = []
        self._scored: tuple[Tensor, Tensor] | None = None
        self._done: int | None = None  # small steps

    @property
    def small_steps(self) -> int:
        """How many small steps one rollout is used for."""
        return self.args.steps_per_generation * self.num_iterations

    @property
    def groups_at_once(self) -> int:
        """The prompts that this process rolls out at once."""
        args = self.args
        return args.per_device_train_batch_size * args.steps_per_generation // self.generations

    def _get_train_sampler(self, dataset: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        del dataset
        args = self.args
        return GroupBatches(
            len(self.rows),
            self.groups_at_once,
            uses=self.small_steps,
            order=self.order,
            rank=args.process_index,
            processes=args.world_size,
            seed=args.seed if args.data_seed is None else args.data_seed,
            epoch=lambda: int(self.state.epoch or 0),
        )

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; the figures start with it."""
        self.figures.start()
        return super().train(*args, **kwargs)

    def _prepare_inputs(self, inputs: Any) -> dict[str, Any]:
        """The whole groups of the next small step; rolled out where none are left."""
        # A training that goes on has done steps before.
        before = self.state.global_step * self.args.gradient_accumulation_steps
        done = before if self._done is None else self._done
        self._done = done + 1
        if done % self.small_steps == 0 or not self._micro_batches:
            places = [row["prompt"] for row in inputs]
            batch = self._roll_out(places, done // self.small_steps)
            self._micro_batches = batch.split(self.args.steps_per_generation)
        return {"groups": self._micro_batches[done % self.args.steps_per_generation]}

    def _save_rng_state(self, output_dir: str) -> None:
        """As it was; the reference too, before the file that makes a checkpoint whole."""
        if self.reference is not None and self.args.should_save:
            self.reference.save(Path(output_dir))
        super()._save_rng_state(output_dir)

    @torch.no_grad()
    def _roll_out(self, places: Sequence[int], number: int) -> MicroBatch:
        """Items for some prompts, their rewards and advantages.

        Args:
            number: of the rollouts before this one.
        """
        with in_eval_mode(self.causal_lm):
            began = time.perf_counter()
            groups, thrown_away = self._groups_with_signal(places, number)
            self.figures.rolled_out(groups, thrown_away, time.perf_counter() - began)
            return self._worth(groups)

    def _worth(self, groups: GroupBatch) -> MicroBatch:
        """The groups as tensors, with what TRL's loss asks of them."""
        rows, items = groups.rows, groups.drawn.items
        misaligned = self.args.gradient_accumulation_steps % self.small_steps != 0
        old = reference = None
        if misaligned or self.rollout.weighs_by_policy:
            old = self.scores.as_they_are(self.causal_lm, rows, items)
        if self.reference is not None:
            with self.reference.model() as model:
                reference = self.scores.as_they_are(model, rows, items)
        rewards = torch.from_numpy(groups.rewards).to(items.device, torch.float32)
        tokens = self.scores.token_mask(items).sum(-1)
        advantages = self.rollout.advantages(
            rewards,
            torch.zeros_like(rewards) if old is None else old.sum(-1),
            groups.drawn,
            scale=self.scale_rewards != "none",
        )
        if self.rollout.weighs_by_policy:  # TRL takes means over tokens, the objective has sums
            advantages = advantages * tokens
        silent = torch.from_numpy(groups.silent).to(items.device)
        everyones: Any = self.accelerator.reduce(tokens.sum(), reduction="sum")
        return MicroBatch(
            rows=rows,
            items=items,
            advantages=advantages.masked_fill(silent[:, None], 0),
            old=old if misaligned else None,
            reference=reference,
            tokens=everyones,
        )

    def _groups_with_signal(self, places: Sequence[int], number: int) -> tuple[GroupBatch, int]:
        """The groups of some prompts, and how many others were thrown away for them.

        A group whose rewards are all equal is replaced by that of another prompt (dynamic
        sampling, as DAPO does it), up to `resample` times.
        """
        groups = self._draw(places, number, attempt=0)
        thrown_away = 0
        for attempt in range(1, self.resample + 1):
            silent = np.flatnonzero(groups.silent).tolist()
            if not silent:
                break
            # By the number of the place among those of all processes.
            size, rank = self.args.world_size, self.args.process_index
            seed, rows = self.args.seed, len(self.rows)
            others = [
                replacement(rows, seed, number, place * size + rank, attempt) for place in silent
            ]
            groups = groups.replaced(silent, self._draw(others, number, attempt))
            thrown_away += len(silent)
        return groups, thrown_away

    def _draw(self, places: Sequence[int], number: int, attempt: int) -> GroupBatch:
        rows = self.rows.select(places)
        keys = torch.tensor(places) + attempt * len(self.rows)
        search = self._search()
        with self.accelerator.autocast():
            drawn = self.rollout.draw(
                search,
                rows.prompts,
                torch.from_numpy(rows.targets).long(),
                generations=self.generations,
                seeds=row_seeds(self.args.seed, keys, number),
                exclude=rows.histories if self.exclude_history else None,
            )
        scores = self.rewards(seen_by_rewards(rows, drawn))
        return GroupBatch(rows, drawn, scores.total, scores.parts)

    def _search(self) -> TreeDecoder:
        """The decoding engine; made only when the model is where it is trained."""
        if self._decoder is None:
            self._decoder = TreeDecoder(
                self.causal_lm,
                self.recommender.trie,
                beams=self.generations,
                scoring=self.scoring,
            )
        return self._decoder

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        """TRL's loss, on log-probabilities that share their prompts."""
        batch: MicroBatch = inputs["groups"]
        log_probs, entropies = self.scores.of_policy(model, batch)
        self._scored = log_probs.flatten(0, 1), entropies.flatten(0, 1)
        mask = self.scores.token_mask(batch.items).flatten(0, 1).int()
        given = {
            "prompt_ids": mask[:, :0],
            "prompt_mask": mask[:, :0],
            "completion_ids": mask,  # TRL asks it for its shape alone
            "completion_mask": mask,
            "advantages": batch.advantages.flatten(),
            "num_items_in_batch": batch.tokens,
        }
        for name, values in (("old", batch.old), ("ref", batch.reference)):
            if values is not None:
                given[f"{name}_per_token_logps"] = values.flatten(0, 1)
        return super()._compute_loss(model, given)

    def _get_per_token_logps_and_entropies(self, *_: Any, **__: Any) -> Any:
        assert self._scored is not None
        return *self._scored, None

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the figures of the groups to the rows of the training."""
        if "loss" in logs:
            self._metrics["train"] |= {n: [v] for n, v in self.figures.recent().items()}
            super().log(logs, start_time)
        else:  # TRL would put the training's figures, as they are now, into any row
            super(GRPOTrainer, self).log(logs, start_time)


def _unused_reward(completions: list[Any], **_: Any) -> list[float]:
    """What TRL asks for; rewards are computed where rollouts are made."""
    raise NotImplementedError
