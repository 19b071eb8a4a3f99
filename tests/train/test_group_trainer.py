"""The group trainer against TRL's own computation, and what it does with groups."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer
from tunable import HISTORIES, disturb, make_section, save_base, tune

from recllm.config.rl_section import ALGORITHMS
from recllm.models.recommender import Recommender
from recllm.rewards import Groups, RewardScores
from recllm.train.group_trainer import GroupTrainer
from recllm.train.groups import MicroBatch
from recllm.train.rl_rows import RlRows
from recllm.train.rollouts.beam import Beam

GENERATIONS = 4
TARGETS = [4, 28, 0, 7, 11, 12, 13, 29]


class Fixed:
    """A reward that is the item's number, or 0 in the groups of some targets."""

    def __init__(self, silent: tuple[int, ...] = ()) -> None:
        self.silent = silent

    def __call__(self, groups: Groups) -> RewardScores:
        total = np.sin(groups.items.astype(np.float64))
        total[np.isin(groups.targets, self.silent)] = 0
        return RewardScores(total, {"fixed": total})


def make_rows(recommender: Recommender) -> RlRows:
    histories = [np.array(HISTORIES[i % len(HISTORIES)], dtype=np.int32) for i in range(8)]
    return RlRows(
        recommender.renderer.recommendation_prompts(histories),
        np.array(TARGETS, dtype=np.int32),
        np.arange(8),
        histories,
    )


def make_trainer(
    recommender: Recommender, folder: Path, rewards: Any = None, resample: int = 0, **settings: Any
) -> GroupTrainer:
    given = {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "num_generations": GENERATIONS,
        "per_device_train_batch_size": 2 * GENERATIONS,
        "gradient_accumulation_steps": 2,
        "max_completion_length": 2,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "save_strategy": "no",
    }
    return GroupTrainer(
        recommender,
        GRPOConfig(**(given | settings)),
        rows=make_rows(recommender),
        order=None,
        rollout=Beam(),
        rewards=rewards or Fixed(),
        scoring="vocab",
        exclude_history=False,
        resample=resample,
        measure=lambda: {"ndcg@10": 0.0},
    )


@pytest.fixture
def recommender(tmp_path: Path) -> Recommender:
    return disturb(tune(make_section(save_base(tmp_path / "base"), "full")))


def copied_inputs(trainer: GroupTrainer, batch: MicroBatch) -> dict[str, Tensor]:
    """What TRL's own trainer makes of the groups: a copy of the prompt beside each completion."""
    codes = trainer.recommender.renderer.encode_answers(trainer.recommender.sids.texts())
    completions = torch.tensor([[codes[i] for i in group] for group in batch.items.tolist()])
    longest = max(map(len, batch.rows.prompts))
    prompts, mask = [], []
    for prompt in batch.rows.prompts:
        padding = longest - len(prompt)
        prompts += [[0] * padding + list(prompt)] * GENERATIONS
        mask += [[0] * padding + [1] * len(prompt)] * GENERATIONS
    completion_ids = completions.flatten(0, 1)
    inputs = {
        "prompt_ids": torch.tensor(prompts),
        "prompt_mask": torch.tensor(mask),
        "completion_ids": completion_ids,
        "completion_mask": torch.ones_like(completion_ids),
        "advantages": batch.advantages.flatten(),
        "num_items_in_batch": batch.tokens,
    }
    for name, values in (("old", batch.old), ("ref", batch.reference)):
        if values is not None:
            inputs[f"{name}_per_token_logps"] = values.flatten(0, 1)
    return inputs


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("beta", "num_iterations"), [(0.0, 1), (0.1, 2)])
def test_losses_and_gradients_are_trls(
    recommender: Recommender, tmp_path: Path, algorithm: str, beta: float, num_iterations: int
) -> None:
    settings = {"beta": beta, "num_iterations": num_iterations, **ALGORITHMS[algorithm]}
    theirs_model = copy.deepcopy(recommender.model)
    rewards = Fixed((TARGETS[1],))  # one group without signal beside three
    trainer: Any = make_trainer(recommender, tmp_path, rewards, **settings)
    stock: Any = GRPOTrainer(
        theirs_model,
        lambda completions, **_: [0.0] * len(completions),
        GRPOConfig(**{**vars_of(trainer.args), "beta": 0.0}),
        train_dataset=Dataset.from_dict({"prompt": ["a", "b", "c", "d"]}),
        processing_class=recommender.renderer.tokenizer,
    )
    stock.beta = beta
    whole = trainer._roll_out(list(range(4)), 0)
    for model in (trainer.model, stock.model):  # the policy has moved on since the rollout
        torch.manual_seed(3)
        for parameter in model.parameters():
            parameter.data += 0.03 * torch.randn_like(parameter)
    for batch in whole.split(2):
        for each in (trainer, stock):
            each.current_gradient_accumulation_steps = 2  # as `train` sets it
            each.model.train()
            each.model.zero_grad()
        ours = trainer._compute_loss(trainer.model, {"groups": batch})
        theirs = stock._compute_loss(stock.model, copied_inputs(trainer, batch))
        assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
        ours.backward()
        theirs.backward()
        gradients = zip(trainer.model.parameters(), stock.model.parameters(), strict=True)
        for mine, other in gradients:
            torch.testing.assert_close(mine.grad, other.grad, atol=1e-5, rtol=1e-4)
    kl = trainer._metrics["train"].get("kl")
    assert kl == pytest.approx(stock._metrics["train"].get("kl"), abs=1e-6)


@pytest.mark.parametrize(("silent", "scored"), [((), 4), ((1, 3), 2), ((0, 1, 2, 3), 1)])
def test_groups_without_signal_are_not_computed(
    recommender: Recommender, tmp_path: Path, silent: tuple[int, ...], scored: int
) -> None:
    rewards = Fixed(tuple(TARGETS[i] for i in silent))
    trainer: Any = make_trainer(recommender, tmp_path, rewards)
    batch = trainer._roll_out([0, 1, 2, 3], 0)
    trainer.model.train()
    prompts: list[int] = []
    forward = trainer.model.forward

    def counted(*args: Any, **kwargs: Any) -> Any:
        prompts.append(len(kwargs["paths"].prompts))
        return forward(*args, **kwargs)

    trainer.model.forward = counted
    trainer.current_gradient_accumulation_steps = 2  # as `train` sets it
    trainer._compute_loss(trainer.model, {"groups": batch}).backward()
    assert prompts == [scored]  # a model in several processes wants a forward in each
    moved = any(p.grad is not None and p.grad.any() for p in trainer.model.parameters())
    assert moved == (len(silent) < 4)
    (entropy,) = trainer._metrics["train"]["entropy"]
    assert entropy > 0


def vars_of(args: Any) -> dict[str, Any]:
    """The settings that decide a loss."""
    names = (
        "output_dir", "use_cpu", "bf16", "report_to", "num_generations", "disable_tqdm",
        "per_device_train_batch_size", "gradient_accumulation_steps", "max_completion_length",
        "gradient_checkpointing", "num_iterations", "loss_type", "importance_sampling_level",
        "scale_rewards",
    )  # fmt: skip
    return {name: getattr(args, name) for name in names}


def test_groups_stay_whole(recommender: Recommender, tmp_path: Path) -> None:
    trainer = make_trainer(recommender, tmp_path)
    batches = list(trainer._get_train_sampler())
    assert len(batches) == 4 and batches[0] == batches[1] != batches[2] == batches[3]
    whole = trainer._roll_out(batches[0], 0)
    parts = whole.split(2)
    assert [part.items.shape for part in parts] == [(2, GENERATIONS)] * 2
    expected = recommender.rank_prompts([trainer.rows.prompts[i] for i in batches[0]], beams=4)
    np.testing.assert_array_equal(torch.cat([part.items for part in parts]), expected.items)
    for part, places in zip(parts, (batches[0][:2], batches[0][2:]), strict=True):
        assert part.rows.rows.tolist() == places
        reward = np.sin(part.items.numpy().astype(np.float64))
        centred = reward - reward.mean(axis=1, keepdims=True)
        scaled = centred / (reward.std(axis=1, ddof=1, keepdims=True) + 1e-4)
        np.testing.assert_allclose(part.advantages, scaled, atol=1e-5)
    with pytest.raises(ValueError, match="4 groups cannot be split into 3 equal parts"):
        whole.split(3)


def test_groups_without_signal_are_replaced_and_counted(
    recommender: Recommender, tmp_path: Path
) -> None:
    silent = tuple(TARGETS[:6])
    trainer = make_trainer(recommender, tmp_path, Fixed(silent), resample=40)
    trainer.figures.start()
    batch = trainer._roll_out([0, 1, 2, 6], 0)
    assert set(batch.rows.targets.tolist()) <= set(TARGETS[6:])
    assert batch.rows.rows[3] == 6  # it had a signal
    figures = trainer.figures.recent()
    assert figures["silent_groups"] == 0
    assert 0 < figures["replaced_groups"] < 1
    again = make_trainer(recommender, tmp_path, Fixed(silent), resample=40)._roll_out(
        [0, 1, 2, 6], 0
    )
    assert again.rows.rows.tolist() == batch.rows.rows.tolist()
    few = make_trainer(recommender, tmp_path, Fixed(tuple(TARGETS)), resample=2)
    few.figures.start()
    few._roll_out([0, 1, 2, 6], 0)
    figures = few.figures.recent()
    assert figures["silent_groups"] == 1
    assert figures["replaced_groups"] == pytest.approx(8 / 12)


def test_figures_are_those_of_the_groups(recommender: Recommender, tmp_path: Path) -> None:
    trainer = make_trainer(recommender, tmp_path, Fixed(tuple(TARGETS[:1])))
    trainer.figures.start()
    assert trainer.figures.recent() == {}
    batch = trainer._roll_out([0, 1, 2, 3], 0)
    figures = trainer.figures.recent()
    items = batch.items.numpy()
    hits = (items == np.array(TARGETS[:4])[:, None]).any(axis=1)
    assert figures["group_hit_rate"] == hits.mean()
    assert figures["silent_groups"] == 0.25
    assert figures["distinct_items"] == len(np.unique(items)) / items.size
    assert figures["reward"] == figures["rewards/fixed"]
    assert figures["reward"] == pytest.approx(np.sin(items[1:].astype(np.float64)).sum() / 16)
    assert 0 < figures["rollout_share"] <= 1
    assert figures["rollouts_per_second"] > 0
