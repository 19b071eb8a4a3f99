"""What rollouts have in common: targets that are added, and rewards within their groups."""

from collections.abc import Sequence

import torch
from torch import Tensor

from recllm.catalog.histories import History
from recllm.decoding.engine import TreeDecoder
from recllm.decoding.stochastic import Sample

#: Keeps the scale of equal rewards finite, as in TRL.
EPSILON = 1e-4


def beam_items(
    decoder: TreeDecoder,
    prompts: Sequence[Sequence[int]],
    targets: Tensor | None,
    *,
    generations: int,
    exclude: Sequence[History] | None,
    only: Sequence[History] | None,
) -> Tensor:
    """(groups, generations) items of beam search, best first, with the targets if there are any."""
    ranking = decoder.decode(prompts, exclude, only, beams=generations)
    items = torch.from_numpy(ranking.items).to(decoder.device, torch.int64)
    if targets is None:
        return items
    targets = targets.to(items)
    return with_target(items, targets, decoder.eligible(targets, exclude, only))


def sampled_items(
    decoder: TreeDecoder,
    prompts: Sequence[Sequence[int]],
    targets: Tensor | None,
    *,
    generations: int,
    seeds: Tensor,
    temperature: float,
    exclude: Sequence[History] | None,
    only: Sequence[History] | None,
) -> Sample:
    """`generations` items drawn without replacement, with the targets if there are any."""
    draw = decoder.draw(
        prompts,
        seeds,
        count=generations + 1,
        temperature=temperature,
        exclude=exclude,
        only=only,
    )
    if targets is None:
        return draw.first(generations)
    targets = targets.to(draw.items)
    return draw.first_with(targets, decoder.eligible(targets, exclude, only), generations)


def with_target(items: Tensor, targets: Tensor, eligible: Tensor) -> Tensor:
    """`items` (groups, n), where the last one gives way to the target that is not among them.

    Args:
        targets: (groups,).
        eligible: (groups,) whether the target may be returned.
    """
    missing = eligible & (items != targets[:, None]).all(dim=1)
    last = torch.where(missing, targets, items[:, -1])
    return torch.cat([items[:, :-1], last[:, None]], dim=1)


def centred(rewards: Tensor, items: Tensor, *, scale: bool) -> Tensor:
    """Rewards less the mean of their group, maybe over its standard deviation; 0 for no item.

    Group-relative advantages: DeepSeekMath, https://arxiv.org/abs/2402.03300.
    """
    present = items >= 0
    rewards = rewards.to(items.device, torch.float64)
    count = present.sum(dim=1, keepdim=True)
    mean = rewards.masked_fill(~present, 0).sum(dim=1, keepdim=True) / count.clamp(min=1)
    difference = (rewards - mean).masked_fill(~present, 0)
    return difference / _deviation(difference, count) if scale else difference


def weighted(rewards: Tensor, log_weights: Tensor, items: Tensor, *, scale: bool) -> Tensor:
    """n q (R - b) for each of a group's n items: q its share of the weights, b the sum of q R.

    Args:
        rewards: (groups, n).
        log_weights: (groups, n) log of weights whose sum need not be 1.
        items: (groups, n), -1 where no item is.
        scale: whether rewards are divided by the (unweighted) standard deviation of their group.
    """
    present = items >= 0
    log_weights = log_weights.detach().double().masked_fill(~present, -torch.inf)
    share = log_weights.softmax(dim=1).masked_fill(~present, 0)
    difference = centred(rewards, items, scale=scale)
    baseline = (share * difference).sum(dim=1, keepdim=True)
    return items.shape[1] * share * (difference - baseline)


def _deviation(difference: Tensor, count: Tensor) -> Tensor:
    """The standard deviation of a group, over n - 1, never 0."""
    variance = difference.square().sum(dim=1, keepdim=True) / (count - 1).clamp(min=1)
    return variance.sqrt() + EPSILON
