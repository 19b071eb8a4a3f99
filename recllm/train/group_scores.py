"""Log-probabilities of the items of groups, as rollouts found them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recllm.catalog.trie import Trie
from recllm.catalog.trie_paths import item_paths
from recllm.config.eval_section import Scoring
from recllm.train.groups import MicroBatch
from recllm.train.path_scoring import PathRequest
from recllm.train.rl_rows import RlRows


@dataclass(frozen=True)
class GroupScores:
    """Scores the items of groups, all those of a prompt in one forward over it.

    Attributes:
        trie: of the whole catalogue.
        scoring: as in evaluation.
        exclude_history: whether rollouts could not return the items of the history.
        groups_at_once: how many are scored in one forward where no gradient is wanted.
        autocast: makes a context in which the model computes in the training's precision.
    """

    trie: Trie
    scoring: Scoring
    exclude_history: bool
    groups_at_once: int
    autocast: Callable[[], AbstractContextManager[None]]

    def token_mask(self, items: Tensor) -> Tensor:
        """(groups, items, tokens): whether an item's path has a token there."""
        return item_paths(self.trie.to(items.device), items).nodes >= 0

    def of_policy(self, model: nn.Module, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """(groups, items, tokens) each: log-probabilities and entropies, with their gradients.

        A group that is `idle` costs nothing: its log-probabilities are 0, and its entropies the
        mean of the others'.
        """
        idle = batch.idle
        if not idle.any():
            return self._scored(model, batch.rows, batch.items)
        # What wraps the model for several processes wants a forward in each.
        busy = (~idle).nonzero()[:, 0] if not idle.all() else idle.nonzero()[:1, 0]
        scores = self._scored(model, batch.rows.select(busy.cpu().numpy()), batch.items[busy])
        log_probs, entropies = (
            values.new_full((len(idle), *values.shape[1:]), fill).index_copy(0, busy, values)
            for values, fill in zip(scores, (0.0, scores[1].mean().item()), strict=True)
        )
        return log_probs, entropies

    @torch.no_grad()
    def as_they_are(self, model: nn.Module, rows: RlRows, items: Tensor) -> Tensor:
        """(groups, items, tokens) log-probabilities, without gradients."""
        parts = []
        for start in range(0, len(rows), self.groups_at_once):
            here = range(start, min(start + self.groups_at_once, len(rows)))
            with self.autocast():
                parts.append(self._scored(model, rows.select(here), items[here.start : here.stop]))
        return torch.cat([log_probs for log_probs, _ in parts])

    def _scored(self, model: nn.Module, rows: RlRows, items: Tensor) -> tuple[Tensor, Tensor]:
        exclude = rows.histories if self.exclude_history else None
        request = PathRequest(
            rows.prompts, items, self.trie.to(items.device), self.scoring, exclude
        )
        scored = model(paths=request)
        return scored["log_probs"], scored["entropy"]
