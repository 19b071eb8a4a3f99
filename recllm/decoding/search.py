"""Beam search through the trie for one batch of prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recllm.catalog.trie import Subset, Trie
from recllm.decoding.scoring import (
    Head,
    Scoring,
    log_probs_over_allowed,
    log_probs_over_level,
    log_probs_over_vocab,
)
from recllm.decoding.tree import Beams, TokenTree, select_best


@dataclass(frozen=True)
class Search:
    """Beam search with everything but the prompts fixed.

    At each level the children of the running paths compete. Those among the best `beams` that
    end a path are finished; the best `beams` of the others run on. So a finished path costs no
    place, and competes with later ones by its score. This is what
    `generate(early_stopping="never", length_penalty=0)` does. Where all paths have one length,
    all finish at the last level.
    """

    decoder: Any
    head: Head
    trie: Trie
    beams: int
    scoring: Scoring
    boolean_mask: bool

    def run(self, prompts: Sequence[Sequence[int]], subset: Subset | None) -> tuple[Tensor, Tensor]:
        """The items (rows, n) and their scores, best first, -1 and -inf where there are fewer."""
        rows, trie = len(prompts), self.trie
        tree = TokenTree(self.decoder, prompts, boolean_mask=self.boolean_mask)
        running = Beams(
            torch.zeros(rows, 1, dtype=torch.int32, device=trie.device),
            torch.zeros(rows, 1, device=trie.device),
        )
        finished = Beams(running.nodes[:, :0], running.scores[:, :0])
        for level in range(trie.depth):
            children = self._children(running, tree.hidden, level, subset)
            finished, ended = self._finish(finished, children)
            if level == trie.depth - 1 or self._is_settled(finished, children, ended):
                break
            best = select_best(children.scores.masked_fill(ended, -torch.inf), self.beams)
            parents = best // (children.nodes.shape[1] // running.nodes.shape[1])
            running = self._keep(children, ended, best, level)
            tokens = trie.alphabets[level][trie.symbols(running.nodes)]
            tree.append(tokens, parents)
        return self._items(finished, subset)
