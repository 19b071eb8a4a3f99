"""Stochastic beam search: items drawn without replacement, with one prefill of each prompt.

Kool, van Hoof and Welling 2019, "Stochastic Beams and Where to Find Them: The Gumbel-Top-k Trick
for Sampling Sequences Without Replacement", https://arxiv.org/abs/1903.06059.

An item's log-probability under the proposal, plus Gumbel noise of its own, is its perturbed
log-probability; the items whose are the largest are a sample without replacement. The largest
below a node is distributed as if the node were an item; given it, those of the node's children
are noise under a condition. So a beam search by perturbed log-probabilities finds the sample
without looking at the other items.

The proposal is the policy at a temperature, each token normalised over the allowed children of
its node (as scoring `trie` does it), whatever the run's `scoring`: for the above, the
probabilities of all children must add up to their parent's, and under `vocab` and `level` some of
it belongs to tokens that lead to no item. A weight p / inclusion probability has the policy's own
p under the run's scoring as its numerator, so that it corrects for the difference.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from recllm.catalog.trie import Subset, Trie
from recllm.decoding.children import Children, check_numbers, of_level
from recllm.decoding.noise import gumbel
from recllm.decoding.scoring import Head
from recllm.decoding.tree import TokenTree, select_best


@dataclass(frozen=True)
class Sample:
    """Items of each row, those that are most probable under the proposal first.

    Attributes:
        items: (rows, n) int64; -1 where fewer are eligible.
        log_probs: (rows, n) fp64 under the proposal; -inf where no item is, and for a target that
            was added without being drawn.
        log_inclusion: (rows, n) fp64 log of the probability that the item is in the sample, given
            the perturbed log-probability of the best item that is not.
    """

    items: Tensor
    log_probs: Tensor
    log_inclusion: Tensor

    def sorted(self) -> "Sample":
        """In the order of `items`; what is not there is last, and has inclusion probability 1."""
        absent = self.items < 0
        inclusion = self.log_inclusion.masked_fill(absent, 0)
        order = self.log_probs.argsort(dim=1, descending=True, stable=True)
        order = order.gather(1, absent.gather(1, order).int().argsort(dim=1, stable=True))
        values = (self.items, self.log_probs, inclusion)
        return Sample(*(value.gather(1, order) for value in values))


@dataclass(frozen=True)
class Draw:
    """The items of each row in the order in which they are drawn without replacement.

    Attributes:
        items: (rows, n) int64; -1 where fewer are eligible.
        log_probs: (rows, n) fp64 under the proposal; -inf where no item is.
        perturbed: (rows, n) fp64 log-probabilities with noise, descending; -inf where no item is.
    """

    items: Tensor
    log_probs: Tensor
    perturbed: Tensor

    def first(self, count: int) -> Sample:
        """The first `count` items; one more must have been drawn.

        The inclusion probability of an item is that of its perturbed log-probability exceeding
        that of the first item after the sample. Sums over the sample of values divided by it have
        the sum over all items as their expectation.
        """
        threshold = self.perturbed[:, count : count + 1]
        log_probs = self.log_probs[:, :count]
        return Sample(
            self.items[:, :count], log_probs, log_inclusion(log_probs, threshold)
        ).sorted()

    def first_with(self, targets: Tensor, eligible: Tensor, count: int) -> Sample:
        """The target for certain, and the first `count - 1` of the other items.

        The noise of the others does not depend on the target's: they are a sample without
        replacement of their own, and the threshold is the next of them.

        Args:
            targets: (rows,).
            eligible: (rows,) whether the target may be in the sample; where not, the sample is
                `first(count)`.
            count: one less than were drawn.
        """
        targets = targets[:, None]
        is_target = self.items == targets
        order = is_target.int().argsort(dim=1, stable=True)
        others = Draw(
            self.items.masked_fill(is_target, -1).gather(1, order),
            self.log_probs.masked_fill(is_target, -torch.inf).gather(1, order),
            self.perturbed.masked_fill(is_target, -torch.inf).gather(1, order),
        ).first(count - 1)
        own = self.log_probs.masked_fill(~is_target, -torch.inf).amax(dim=1, keepdim=True)
        certain = torch.zeros_like(own)
        added = Sample(
            torch.cat([others.items, targets], dim=1),
            torch.cat([others.log_probs, own], dim=1),
            torch.cat([others.log_inclusion, certain], dim=1),
        ).sorted()
        without, eligible = self.first(count), eligible[:, None]
        return Sample(
            torch.where(eligible, added.items, without.items),
            torch.where(eligible, added.log_probs, without.log_probs),
            torch.where(eligible, added.log_inclusion, without.log_inclusion),
        )


def log_inclusion(log_probs: Tensor, threshold: Tensor) -> Tensor:
    """log P(log p + Gumbel noise > threshold) = log(1 - exp(-exp(log p - threshold))).

    0 where the threshold is -inf: then every item is in the sample.
    """
    excess = (log_probs - threshold).masked_fill(threshold == -torch.inf, torch.inf)
    # Below, the two are equal in fp64, and exp(excess) would come to be 0.
    return torch.where(excess < -40, excess, _log1mexp(-excess.exp()))


def with_largest(perturbed: Tensor, largest: Tensor) -> Tensor:
    """Gumbel variables (…, n), given that the largest of each n is `largest` (…).

    The stable form of the paper's appendix B.3. -inf stays what it is; NaN where all are.
    """
    largest = largest.unsqueeze(-1)
    below = perturbed - perturbed.amax(dim=-1, keepdim=True)
    shift = largest - perturbed + _log1mexp(below)
    return largest - shift.clamp(min=0) - (-shift.abs()).exp().log1p()


def _log1mexp(values: Tensor) -> Tensor:
    """log(1 - exp(x)) for x <= 0; Maechler 2012, "Accurately computing log(1 - exp(-|a|))"."""
    near = (-torch.expm1(values)).log()
    return torch.where(values > -math.log(2), near, (-values.exp()).log1p())


@dataclass(frozen=True)
class _Paths:
    """Paths through the trie: nodes (rows, width), log-probabilities, and these perturbed."""

    nodes: Tensor
    log_probs: Tensor
    perturbed: Tensor

    @property
    def alive(self) -> Tensor:
        return self.perturbed > -torch.inf

    def where(self, mask: Tensor) -> "_Paths":
        """The paths of the mask; the others die."""
        return _Paths(
            self.nodes,
            self.log_probs.masked_fill(~mask, -torch.inf),
            self.perturbed.masked_fill(~mask, -torch.inf),
        )

    def take(self, index: Tensor) -> "_Paths":
        """The paths at `index` (rows, n)."""
        parts = (self.nodes, self.log_probs, self.perturbed)
        return _Paths(*(part.gather(1, index) for part in parts))

    def beside(self, others: "_Paths") -> "_Paths":
        """These and others."""
        mine = (self.nodes, self.log_probs, self.perturbed)
        theirs = (others.nodes, others.log_probs, others.perturbed)
        return _Paths(*(torch.cat(pair, dim=1) for pair in zip(mine, theirs, strict=True)))


@dataclass(frozen=True)
class StochasticSearch:
    """Draws items with everything but the prompts and their seeds fixed.

    The noise of a node is a function of the row's seed and of the node, so that a row draws the
    same items in any batch, and finds its own noise again as further items are drawn.
    """

    decoder: Any
    head: Head
    trie: Trie
    count: int
    temperature: float
    boolean_mask: bool

    def run(self, prompts: Sequence[Sequence[int]], subset: Subset | None, seeds: Tensor) -> Draw:
        """The first `count` items of each row; `seeds` (rows,) int64."""
        trie = self.trie
        tree = TokenTree(self.decoder, prompts, boolean_mask=self.boolean_mask)
        root = torch.zeros(len(prompts), 1, dtype=torch.int64, device=trie.device)
        running = _Paths(root, torch.zeros_like(root, dtype=torch.float64), gumbel(seeds, root))
        finished = running.take(root[:, :0])
        for level in range(trie.depth):
            children = Children.of(trie, running.nodes, level, subset)
            log_probs = children.log_probs_over_siblings(tree.hidden, self.head, self.temperature)
            check_numbers(log_probs, level)
            grown = _grow(running, children.nodes.long(), children.allowed, log_probs, seeds)
            ended = trie.is_leaf(grown.nodes)
            finished = finished.beside(grown.where(ended))
            finished = finished.take(select_best(finished.perturbed, self.count))
            if level == trie.depth - 1:
                break
            grown = grown.where(~ended)
            best = select_best(grown.perturbed, self.count)
            running = grown.take(best)
            running = replace(
                running, nodes=of_level(running.nodes, running.alive, trie, level + 1)
            )
            if not bool((running.alive & (running.perturbed > self._least(finished))).any()):
                break
            tokens = children.tokens[trie.symbols(running.nodes)]
            tree.append(tokens, parents=best // children.nodes.shape[-1])
        return self._draw(finished, subset, seeds)

    def _least(self, finished: _Paths) -> Tensor:
        """(rows, 1): what a path must exceed to become one of the first; -inf if there is room."""
        if finished.perturbed.shape[1] < self.count:
            return torch.full_like(finished.perturbed[:, :1], -torch.inf)
        return finished.perturbed.amin(dim=1, keepdim=True)

    def _draw(self, finished: _Paths, subset: Subset | None, seeds: Tensor) -> Draw:
        """The first of the items of the paths; those that share a path are equally probable."""
        items, exists = self.trie.leaf_items(finished.nodes, subset)
        share = -exists.sum(dim=-1, keepdim=True).double().log().expand(exists.shape)
        keys = items.long() + self.trie.level_start[-1]
        grown = _grow(finished, keys, exists, share, seeds)
        order = grown.perturbed.argsort(dim=1, descending=True, stable=True)[:, : self.count]
        drawn = grown.take(order)
        found = (drawn.nodes - self.trie.level_start[-1]).masked_fill(~drawn.alive, -1)
        missing = self.count - found.shape[1]
        return Draw(
            F.pad(found, (0, missing), value=-1),
            F.pad(drawn.log_probs, (0, missing), value=-torch.inf),
            F.pad(drawn.perturbed, (0, missing), value=-torch.inf),
        )


def _grow(
    paths: _Paths, nodes: Tensor, allowed: Tensor, log_probs: Tensor, seeds: Tensor
) -> _Paths:
    """All continuations of `paths` (rows, width): (rows, width * n).

    Args:
        nodes: (rows, width, n) what continues each path; its noise is looked up by it.
        allowed: which of these there are.
        log_probs: of each, after its path.
        seeds: (rows,).
    """
    allowed = allowed & paths.alive.unsqueeze(-1)
    summed = (paths.log_probs.unsqueeze(-1) + log_probs).masked_fill(~allowed, -torch.inf)
    perturbed = with_largest(summed + gumbel(seeds, nodes), paths.perturbed)
    perturbed = perturbed.masked_fill(~allowed, -torch.inf)
    return _Paths(nodes.flatten(1), summed.flatten(1), perturbed.flatten(1))
