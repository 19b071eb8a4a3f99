"""Scoring of a group's items with gradients: one tree a prompt, or TRL's copies of the prompt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor
from trl.kernels import ChunkedLogProbFunction
from trl.trainer.utils import add_fused_lm_head

from benchmarks._harness import timed
from recllm.catalog.trie import Trie
from recllm.catalog.trie_paths import item_paths
from recllm.decoding.paths import score_paths
from recllm.decoding.scoring import Head
from recllm.decoding.support import uses_boolean_mask


@dataclass(frozen=True)
class Groups:
    """What a step scores.

    Attributes:
        prompts: (groups, tokens) of one length, so that nothing is padded.
        items: (groups, generations).
        advantages: of each item.
    """

    prompts: Tensor
    items: Tensor
    advantages: Tensor

    def __len__(self) -> int:
        return len(self.prompts)

    def batches(self, size: int) -> list["Groups"]:
        """Parts of `size` groups."""
        parts = (values.split(size) for values in (self.prompts, self.items, self.advantages))
        return [Groups(*part) for part in zip(*parts, strict=True)]


#: log p (groups, generations, levels) of the tokens of each item.
Scorer = Callable[[Groups], Tensor]


class Copies:
    """TRL's way: every item behind a copy of its prompt, the head by its fused function."""

    def __init__(self, model: Any, trie: Trie, *, answers_only: bool) -> None:
        """Patch the model as GRPOTrainer does, unless for `answers_only`.

        Args:
            answers_only: whether the head is computed on the items' tokens alone. TRL does so with
                Triton, and on every position where there is none.
        """
        self.model, self.trie, self.answers_only = model, trie, answers_only
        if not answers_only:
            add_fused_lm_head(model, outputs=("log_probs", "entropy"))

    def __call__(self, groups: Groups) -> Tensor:
        tokens = item_paths(self.trie, groups.items).tokens
        copies, levels = groups.items.shape[1], tokens.shape[-1]
        prompts = groups.prompts.repeat_interleave(copies, dim=0)
        rows = torch.cat([prompts, tokens.flatten(0, 1)], dim=1)
        mask = torch.ones_like(rows)
        if self.answers_only:
            states = self.model.get_decoder()(rows, attention_mask=mask, use_cache=False)
            hidden = states.last_hidden_state[:, -levels - 1 : -1].flatten(0, 1)
            log_probs, *_ = ChunkedLogProbFunction.apply(
                hidden, self.model.get_output_embeddings().weight, None, tokens.flatten(), 1.0,
                2**15, None, 1.0, ("log_probs", "entropy"),
            )  # fmt: skip
        else:
            labels = rows.clone()
            labels[:, :-levels] = -100
            found = self.model(rows, attention_mask=mask, labels=labels, fused_lm_head=True)
            log_probs = found.log_probs[:, -levels:]
        return log_probs.reshape(tokens.shape)


class SharedPrefix:
    """recllm's way: one forward over the prompt and the tree of its items."""

    def __init__(self, model: Any, trie: Trie) -> None:
        self.model, self.trie = model, trie

    def __call__(self, groups: Groups) -> Tensor:
        return score_paths(
            self.model.get_decoder(),
            Head.of(self.model),
            self.trie,
            groups.prompts.tolist(),
            groups.items,
            scoring="vocab",
            subset=None,
            boolean_mask=uses_boolean_mask(self.model),
        ).log_probs


@dataclass(frozen=True)
class Scored:
    """What scoring and its backward pass came to at the best batch size.

    Attributes:
        seconds: of all groups, the median of the runs.
        batch: groups in a batch.
        loss: of all groups.
        gradient: the norm of the whole gradient.
    """

    seconds: float
    batch: int
    loss: float
    gradient: float

    def __str__(self) -> str:
        return (
            f"{self.seconds:.4g} s in batches of {self.batch}, loss {self.loss:.6f}, "
            f"gradient {self.gradient:.5f}"
        )


def measure(
    model: Any, scorer: Scorer, groups: Groups, batches: Sequence[int], repeats: int = 2
) -> Scored:
    """Try each batch size once, and run the best some times more."""

    def run(parts: Sequence[Groups]) -> float:
        model.zero_grad(set_to_none=True)
        total = 0.0
        for part in parts:
            summed = scorer(part).sum(-1)
            loss = -(part.advantages * summed).sum() / groups.advantages.numel()
            loss.backward()
            total += float(loss.detach())
        return total

    run(groups.batches(batches[0])[:1])
    runs = {size: [timed(partial(run, groups.batches(size)))] for size in batches}
    best = min(runs, key=lambda size: runs[size][0])
    runs[best] += [timed(partial(run, groups.batches(best))) for _ in range(repeats)]
    norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    model.zero_grad(set_to_none=True)
    return Scored(
        seconds=median(seconds for seconds, _ in runs[best]),
        batch=best,
        loss=runs[best][-1][1],
        gradient=float(torch.stack(norms).norm()),
    )


def check(ours: Scored, theirs: Scored, tolerance: float) -> None:
    """Hold losses and gradients to each other, the latter relative to their norm.

    Raises:
        SystemExit: they differ.
    """
    loss = abs(ours.loss - theirs.loss)
    gradient = abs(ours.gradient - theirs.gradient) / theirs.gradient
    print(f"losses differ by {loss:.1e}, norms of gradients by {gradient:.1e}", flush=True)
    if not max(loss, gradient) <= tolerance:
        raise SystemExit(f"rl: expected losses and gradients within {tolerance}: {ours}; {theirs}")
