"""Beam search through the trie for one batch of prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from recllm.catalog.trie import Subset, Trie
from recllm.decoding.children import Children, check_numbers, of_level
from recllm.decoding.scoring import Head, Scoring
from recllm.decoding.tree import Beams, select_best


class PathStates(Protocol):
    """A model's hidden states at the ends of the paths that continue some prompts."""

    @property
    def hidden(self) -> Tensor:
        """(rows, paths, hidden size), of the newest tokens; at first, of each prompt's last."""
        ...

    def append(self, tokens: Tensor, parents: Tensor) -> None:
        """Run the tokens (rows, n) that follow the newest tokens at `parents` (rows, n)."""
        ...


#: Runs a batch of prompts.
Start = Callable[[Sequence[Sequence[int]]], PathStates]


@dataclass(frozen=True)
class Search:
    """Beam search with everything but the prompts fixed.

    At each level the children of the running paths compete. Those among the best `beams` that
    end a path are finished; the best `beams` of the others run on. So a finished path costs no
    place, and competes with later ones by its score. This is what
    `generate(early_stopping="never", length_penalty=0)` does. Where all paths have one length,
    all finish at the last level.
    """

    start: Start
    head: Head
    trie: Trie
    beams: int
    scoring: Scoring

    def run(self, prompts: Sequence[Sequence[int]], subset: Subset | None) -> tuple[Tensor, Tensor]:
        """Items (rows, n) and their scores, best first; -1 and -inf where fewer are eligible."""
        rows, trie = len(prompts), self.trie
        tree = self.start(prompts)
        root = torch.zeros(rows, 1, dtype=torch.int32, device=trie.device)
        running = Beams(root, torch.zeros(rows, 1, device=trie.device))
        finished = Beams(root[:, :0], running.scores[:, :0])
        for level in range(trie.depth - 1):
            children = self._children(running, tree.hidden, level, subset)
            children_each = children.nodes.shape[1] // running.nodes.shape[1]
            if trie.eos is not None:
                finished = self._finish(finished, children)
            best, running = self._continue(children, level)
            if trie.eos is not None and self._is_settled(finished, running):
                return self._items(finished, subset)
            tokens = trie.alphabets[level][trie.symbols(running.nodes)]
            tree.append(tokens, parents=best // children_each)
        children = self._children(running, tree.hidden, trie.depth - 1, subset)
        return self._items(self._finish(finished, children), subset)

    def _children(self, running: Beams, hidden: Tensor, level: int, subset: Subset | None) -> Beams:
        """All continuations of the running paths by one token, in path order."""
        children = Children.of(self.trie, running.nodes, level, subset)
        log_probs = children.log_probs(hidden, self.head, self.scoring)
        scores = running.scores.unsqueeze(-1) + log_probs
        scores = scores.masked_fill(~children.allowed, -torch.inf)
        check_numbers(scores, level)
        return Beams(children.nodes.flatten(1), scores.flatten(1))

    def _continue(self, children: Beams, level: int) -> tuple[Tensor, Beams]:
        """The best children that do not end their path: their indices, and they themselves."""
        scores = children.scores
        if self.trie.eos is not None:
            scores = scores.masked_fill(self.trie.is_leaf(children.nodes), -torch.inf)
        best = select_best(scores, self.beams)
        running = Beams(children.nodes, scores).take(best)
        nodes = of_level(running.nodes, running.alive, self.trie, level + 1)
        return best, Beams(nodes, running.scores)

    def _finish(self, finished: Beams, children: Beams) -> Beams:
        """The best of the finished paths and of those that end among the best children."""
        best = children.take(select_best(children.scores, self.beams))
        leaf = self.trie.is_leaf(best.nodes)
        nodes = torch.cat([finished.nodes, best.nodes], dim=1)
        scores = torch.cat([finished.scores, best.scores.masked_fill(~leaf, -torch.inf)], dim=1)
        path_order = self.trie.item_range(nodes)[0].argsort(dim=1, stable=True)
        merged = Beams(nodes, scores).take(path_order)
        return merged.take(select_best(merged.scores, self.beams))

    def _is_settled(self, finished: Beams, running: Beams) -> bool:
        """Whether in every row no running path can still become one of the best."""
        hopeful = running.alive.any(1)
        if finished.scores.shape[1] == self.beams:
            # Scores only fall; an equal one could still win by its place.
            hopeful &= running.scores.amax(1) >= finished.scores.amin(1)
        return not bool(hopeful.any())

    def _items(self, finished: Beams, subset: Subset | None) -> tuple[Tensor, Tensor]:
        """The items of the finished paths, by score, then path, then catalogue order."""
        paths = finished.take(finished.scores.argsort(dim=1, descending=True, stable=True))
        items, exists = self.trie.leaf_items(paths.nodes, subset)
        exists &= paths.alive.unsqueeze(-1)
        scores = paths.scores.unsqueeze(-1).expand(exists.shape)
        items = items.masked_fill(~exists, -1).flatten(1)
        scores = scores.masked_fill(~exists, -torch.inf).flatten(1)
        first = (items < 0).int().argsort(dim=1, stable=True)[:, : self.beams]
        return items.gather(1, first), scores.gather(1, first)
