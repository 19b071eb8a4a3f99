"""Rollouts: what they draw, and that their advantages are their objectives' gradients."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from beam_reference import make_model
from torch import Tensor

from recllm.catalog.trie import Trie
from recllm.config.plugins import ROLLOUTS
from recllm.decoding.engine import TreeDecoder
from recllm.decoding.noise import row_seeds
from recllm.decoding.paths import score_paths
from recllm.decoding.scoring import Head
from recllm.train.rollouts import Drawn, Rollout

PROMPTS = [[5, 6, 7], [9], [11, 12, 13, 14, 15, 16]]
cached_model = cache(make_model)


def rollout(name: str, **options: Any) -> Rollout:
    return ROLLOUTS.load(name)(**options)


def full_trie() -> Trie:
    """All 64 items of three levels of four codes."""
    codes = np.stack(np.unravel_index(np.arange(64), (4, 4, 4)), axis=1)
    return Trie.from_sids(codes, 100 + np.arange(12).reshape(3, 4))


def scored(model: Any, trie: Trie, items: Tensor, prompts: list[list[int]] = PROMPTS) -> Tensor:
    scores = score_paths(
        model.get_decoder(), Head.of(model), trie, prompts, items,
        scoring="vocab", subset=None, boolean_mask=True,
    )  # fmt: skip
    return scores.log_probs.sum(-1)


def draw(name: str, generations: int, targets: list[int], **options: Any) -> Drawn:
    decoder = TreeDecoder(cached_model("qwen3"), full_trie(), beams=2)
    return rollout(name, **options).draw(
        decoder,
        PROMPTS,
        torch.tensor(targets),
        generations=generations,
        seeds=row_seeds(0, torch.arange(3), 0),
    )


def test_beams_are_the_best_items_and_give_their_last_place_to_the_target() -> None:
    best = TreeDecoder(cached_model("qwen3"), full_trie(), beams=8).decode(PROMPTS).items
    targets = [int(best[0, 3]), int(best[1, 7]), int(best[2, 0])]
    for name in ("beam", "beam-risk"):
        assert draw(name, 6, targets).items.tolist() == best[:, :6].tolist()
        expected = best[:, :6].copy()
        expected[1, 5] = targets[1]
        found = draw(name, 6, targets, add_target=True)
        assert found.items.tolist() == expected.tolist()
        assert found.log_inclusion is None


def test_samples_give_the_last_drawn_place_to_the_target() -> None:
    without = draw("sample", 6, [0, 0, 0]).items
    target = next(item for item in range(64) if item not in set(without[0].tolist()))
    found = draw("sample", 6, [target] * 3, add_target=True).items
    assert (found == target).any(dim=1).all()
    kept = set(found[0].tolist()) & set(without[0].tolist())
    assert len(kept) == 5 and found[0, -1] == target


def test_group_relative_advantages() -> None:
    rewards = torch.tensor([[1.0, 0, 0, 0], [3, 1, 2, 100], [0.3, 0.3, 0.3, 0.3]])
    items = torch.tensor([[1, 2, 3, 4], [1, 2, 3, -1], [5, 6, 7, 8]])
    log_probs = torch.randn(3, 4, requires_grad=True)
    for name in ("beam", "sample"):
        plain, scaled = (
            rollout(name).advantages(rewards, log_probs, Drawn(items), scale=scale)
            for scale in (False, True)
        )
        expected = torch.tensor([[0.75, -0.25, -0.25, -0.25], [1, -1, 0, 0], [0, 0, 0, 0]])
        torch.testing.assert_close(plain, expected)
        assert not plain.requires_grad and plain.dtype == torch.float32
        deviation = torch.tensor([[0.5], [1], [0]]) + 1e-4
        torch.testing.assert_close(scaled, expected / deviation)


def gradients(model: Any, objective: Tensor) -> dict[str, Tensor]:
    named = dict(model.named_parameters())
    found = torch.autograd.grad(objective, [*named.values()], retain_graph=True)
    return dict(zip(named, found, strict=True))


def test_beam_risk_has_the_gradient_of_the_expected_reward_over_the_beam() -> None:
    torch.manual_seed(0)
    model, trie = make_model("qwen3"), full_trie()
    drawn = draw("beam-risk", 8, [0, 0, 0])
    drawn.items[2, 5:] = -1
    log_probs, rewards = scored(model, trie, drawn.items), torch.randn(3, 8)
    absent = drawn.items < 0
    share = log_probs.masked_fill(absent, -torch.inf).softmax(dim=1)
    expected = gradients(model, (share * rewards).sum(dim=1).mean())
    advantages = rollout("beam-risk").advantages(rewards, log_probs, drawn, scale=False)
    found = gradients(model, (advantages * log_probs).mean())
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 0.01
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4)


class Enumerated:
    """All 64 items after one prompt: log p, its gradient by some parameters, and rewards."""

    def __init__(self) -> None:
        self.prompt = [5, 6, 7]
        self.trie, self.model = full_trie(), make_model("llama", initializer_range=0.15)
        every = scored(self.model, self.trie, torch.arange(64)[None], [self.prompt])[0]
        weights = [self.model.model.norm.weight, self.model.model.layers[0].self_attn.q_proj.weight]
        rows = [torch.autograd.grad(log_p, weights, retain_graph=True) for log_p in every]
        #: (64, parameters) of log p.
        self.gradient = torch.stack(
            [torch.cat([g.flatten() for g in row]) for row in rows]
        ).double()
        self.log_p = every.detach().double()
        self.p = self.log_p.exp()
        self.rewards = torch.rand(64, generator=torch.manual_seed(1)).double()
        self.rewards[self.p.argsort(descending=True)[[1, 9, 40]]] += 3

    def draw(self, name: str, rows: int, generations: int, **options: Any) -> Drawn:
        """A group for each of `rows` seeds; the target is an item of little probability."""
        decoder = TreeDecoder(self.model, self.trie, beams=2, batch_tokens=10**6)
        target = self.p.argsort()[20]
        return rollout(name, **options).draw(
            decoder,
            [self.prompt] * rows,
            target.expand(rows),
            generations=generations,
            seeds=row_seeds(3, torch.arange(rows), generations),
        )

    def renormalised_gradient(self) -> Tensor:
        """Of the expected reward under the policy renormalised over all items."""
        share = self.p / self.p.sum()
        return (share * (self.rewards - (share * self.rewards).sum())) @ self.gradient


@pytest.fixture(scope="module")
def enumerated() -> Enumerated:
    return Enumerated()


def assert_expected(found: Tensor, expected: Tensor, errors: float = 5.0) -> None:
    """The mean over rows (rows, n) is within so many of its standard errors, in every column."""
    error = found.std(dim=0) / len(found) ** 0.5
    assert bool(((found.mean(dim=0) - expected).abs() <= errors * error + 1e-9).all())


@pytest.mark.parametrize("options", [{}, {"temperature": 2.0}, {"add_target": True}])
def test_inclusion_weights_estimate_reward_and_gradient_without_bias(
    enumerated: Enumerated, options: dict[str, Any]
) -> None:
    drawn = enumerated.draw("sbs", 4000, 12, **options)
    assert drawn.log_inclusion is not None
    weights = (enumerated.log_p[drawn.items] - drawn.log_inclusion).exp()
    values = weights * enumerated.rewards[drawn.items]
    # 4 and 5 standard errors: of one figure, and of a thousand.
    assert_expected(values.sum(1, keepdim=True), (enumerated.p * enumerated.rewards).sum(), 4)
    coefficients = torch.zeros(4000, 64, dtype=torch.float64).scatter(1, drawn.items, values)
    expected = (enumerated.p * enumerated.rewards) @ enumerated.gradient
    assert_expected(coefficients @ enumerated.gradient, expected)


def estimated_gradient(enumerated: Enumerated, name: str, drawn: Drawn) -> Tensor:
    """(rows, parameters): the gradient that the advantages of each group give."""
    log_probs = enumerated.log_p[drawn.items]
    advantages = rollout(name).advantages(
        enumerated.rewards[drawn.items], log_probs, drawn, scale=False
    )
    rows, generations = drawn.items.shape
    shares = torch.zeros(rows, 64, dtype=torch.float64)
    return shares.scatter(1, drawn.items, advantages / generations) @ enumerated.gradient


def test_sbs_advantages_approach_the_gradient_as_groups_grow(enumerated: Enumerated) -> None:
    exact = enumerated.renormalised_gradient()
    every = estimated_gradient(enumerated, "sbs", enumerated.draw("sbs", 5, 64))
    torch.testing.assert_close(every, exact.expand_as(every), atol=1e-7, rtol=1e-4)
    rows = 4000
    # What is left of the bias of a ratio, and four standard errors of the mean over the groups.
    for generations, bias in ((16, 0.03), (32, 0.0)):
        drawn = enumerated.draw("sbs", rows, generations)
        found = estimated_gradient(enumerated, "sbs", drawn)
        error = float(found.std(dim=0).norm()) / rows**0.5
        tolerance = bias * float(exact.norm()) + 4 * error
        assert float((found.mean(dim=0) - exact).norm()) < tolerance
        without = Drawn(drawn.items, torch.zeros(drawn.items.shape))
        unweighted = estimated_gradient(enumerated, "sbs", without)
        assert float((unweighted.mean(dim=0) - exact).norm()) > 2 * tolerance


def test_samples_are_drawn_as_often_as_their_probabilities_say(enumerated: Enumerated) -> None:
    rows = 20_000
    decoder = TreeDecoder(enumerated.model, enumerated.trie, beams=64, scoring="trie")
    every = decoder.draw([enumerated.prompt], torch.tensor([0]), count=64, temperature=1.5)
    p = torch.zeros(64, dtype=torch.float64).scatter(0, every.items[0], every.log_probs[0].exp())
    for generations in (1, 2):
        drawn = enumerated.draw("sample", rows, generations, temperature=1.5)
        included = torch.zeros(rows, 64).scatter(1, drawn.items, 1.0).double()
        expected = p
        if generations == 2:
            odds = p / (1 - p)
            expected = p + p * (odds.sum() - odds)
        assert_expected(included, expected, errors=4.5)
