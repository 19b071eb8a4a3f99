"""Log-probabilities of items after a prompt, with gradients: one forward for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from recllm.catalog.trie import Subset, Trie
from recllm.catalog.trie_paths import ItemPaths, item_paths
from recllm.decoding.batching import pad_prompts
from recllm.decoding.children import Children
from recllm.decoding.scoring import (
    Head,
    Scoring,
    log_probs_in_training,
    log_probs_over_allowed,
)
from recllm.decoding.tree import attention_mask


@dataclass(frozen=True)
class PathScores:
    """How probable a model finds each token of some items' paths.

    Attributes:
        log_probs: (rows, items, depth) fp32; 0 after a path's end, and where there is no item.
        entropy: (rows, items, depth) fp32, without gradient, in nats: of the next token among
            those of its level (`vocab`, `level`) or among the allowed ones (`trie`); 0 there too.
    """

    log_probs: Tensor
    entropy: Tensor


def score_paths(
    decoder: Any,
    head: Head,
    trie: Trie,
    prompts: Sequence[Sequence[int]],
    items: Tensor,
    *,
    scoring: Scoring,
    subset: Subset | None,
    boolean_mask: bool,
) -> PathScores:
    """Score items that may follow each prompt, as `TreeDecoder` scores them.

    Each prompt is run once, in one forward with the tree of its items' paths: a token of a path
    sees the prompt, the tokens before it on its path and itself, and its position is the one that
    it has behind the prompt. Tokens that several paths begin with are run once, and the last
    token of a path is not run, since nothing follows it. The mode of the model and whether
    gradients are computed or checkpointed are the caller's.

    Args:
        decoder: the layers below the head, with softmax attention by sdpa or eager.
        head: the output layer.
        trie: the catalogue, on the decoder's device.
        prompts: token ids of each row, without padding.
        items: (rows, items) dense indices that may repeat; -1 for none.
        scoring: what log-probabilities are normalised over; see `Scoring`.
        subset: what each row may return; None where it may return everything.
        boolean_mask: whether attention takes a boolean mask; see `uses_boolean_mask`.

    Raises:
        UserError: an item is outside the catalogue.
        ValueError: with scoring `trie`, an item is not one that its row may return.
    """
    paths = item_paths(trie, items)
    tree = _Tree.of(prompts, paths, trie)
    states = decoder(
        input_ids=tree.tokens,
        attention_mask=attention_mask(tree.visible, boolean=boolean_mask),
        position_ids=tree.positions,
        use_cache=False,
    ).last_hidden_state
    present = paths.nodes >= 0
    log_probs, entropy = _Scorer(head, trie, scoring, subset).score(states, tree, paths)
    empty = torch.zeros(present.shape, device=states.device)
    return PathScores(
        empty.masked_scatter(present, log_probs), empty.masked_scatter(present, entropy)
    )


@dataclass(frozen=True)
class _Tree:
    """Each row's prompt, padded on the right, and behind it the tokens that its paths share.

    Attributes:
        tokens, positions: (rows, length).
        visible: (rows, length, length) which tokens each token sees.
        before: (rows, items, depth) the place of the token before each token of a path;
            arbitrary where the path has none.
    """

    tokens: Tensor
    positions: Tensor
    visible: Tensor
    before: Tensor

    @classmethod
    def of(cls, prompts: Sequence[Sequence[int]], paths: ItemPaths, trie: Trie) -> "_Tree":
        device = trie.device
        prompt, lengths = pad_prompts(prompts, device)
        longest = prompt.shape[1]
        present = paths.nodes >= 0
        inner = present[..., :-1] & present[..., 1:]
        slots, width = _slots(paths.nodes[..., :-1], inner, trie.level_start[-1])
        row, item, level = inner.nonzero(as_tuple=True)
        slot = slots[row, item, level]

        tokens = prompt.new_zeros(len(prompt), width)
        tokens[row, slot] = paths.tokens[row, item, level]
        offsets = torch.zeros_like(tokens)
        offsets[row, slot] = level
        places = torch.arange(longest, device=device)

        seen = torch.eye(width, dtype=torch.bool, device=device).repeat(len(prompt), 1, 1)
        for above in range(inner.shape[-1] - 1):
            below = level > above
            ancestor = slots[row[below], item[below], above]
            seen[row[below], slot[below], ancestor] = True
        visible = seen.new_zeros(len(prompt), longest + width, longest + width)
        visible[:, :longest, :longest] = places <= places[:, None]
        visible[:, longest:, :longest] = (places < lengths[:, None]).unsqueeze(1)
        visible[:, longest:, longest:] = seen

        last = (lengths - 1).view(-1, 1, 1).expand(-1, present.shape[1], 1)
        return cls(
            tokens=torch.cat([prompt, tokens], dim=1),
            positions=torch.cat([places.expand_as(prompt), lengths[:, None] + offsets], dim=1),
            visible=visible,
            before=torch.cat([last, longest + slots], dim=-1),
        )


def _slots(nodes: Tensor, used: Tensor, count: int) -> tuple[Tensor, int]:
    """A number for each different node of a row, from 0 on, and how many a row has at most.

    Args:
        nodes: (rows, items, levels), from 0 to `count`.
        used: which of them are numbered; the others get 0.
    """
    row = torch.arange(len(nodes), device=nodes.device)
    keys, which = (nodes + count * row.view(-1, 1, 1))[used].unique(return_inverse=True)
    row_of = keys // count
    first = torch.searchsorted(row_of, row)
    number = torch.arange(len(keys), device=nodes.device) - first[row_of]
    slots = torch.zeros_like(nodes)
    slots[used] = number[which]
    return slots, int(number.max()) + 1 if len(number) else 0


@dataclass(frozen=True)
class _Scorer:
    """Scores the tokens of all paths."""

    head: Head
    trie: Trie
    scoring: Scoring
    subset: Subset | None

    def score(self, states: Tensor, tree: _Tree, paths: ItemPaths) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies (n,) of the n tokens that there are, path by path."""
        present = paths.nodes >= 0
        row, item, level = present.nonzero(as_tuple=True)
        # Each different token that something follows is scored once, and all of them at once: the
        # gradient of each use of the head is as large as the head.
        length = states.shape[1]
        place, which = (tree.before[present] + length * row).unique(return_inverse=True)
        tokens, columns = torch.cat(self.trie.alphabets).unique(return_inverse=True)
        scored = self._scored(states.flatten(0, 1)[place], tokens)

        above = torch.where(level > 0, paths.nodes[row, item, level - 1], 0)
        parents = torch.empty_like(place).index_copy_(0, which, above)
        levels = torch.empty_like(place).index_copy_(0, which, level)
        symbols = self.trie.symbols(paths.nodes[present])
        log_probs, entropy = scored.new_zeros(len(row)), scored.new_zeros(len(row))
        sizes = [len(alphabet) for alphabet in self.trie.alphabets]
        for number, of_level in enumerate(columns.split(sizes)):
            chosen = (levels == number).nonzero().squeeze(1)
            if not len(chosen):
                continue
            at = torch.empty_like(place).index_copy_(
                0, chosen, torch.arange(len(chosen), device=place.device)
            )
            found = scored[chosen][:, of_level]
            if self.scoring != "vocab":
                rows = place[chosen] // length
                found = self._normalised(found, parents[chosen], rows, number)
            here = (level == number).nonzero().squeeze(1)
            uncertainty = torch.special.entr(found.detach().softmax(-1)).sum(-1)
            mine = at[which[here]]
            log_probs = log_probs.index_copy(0, here, found[mine, symbols[here]])
            entropy = entropy.index_copy(0, here, uncertainty[mine])
        if bool(log_probs.isneginf().any()):
            raise ValueError("expected items that their rows may return, found another")
        return log_probs, entropy

    def _scored(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """(n, tokens): log p over the vocabulary, or logits where that is not asked for."""
        if self.scoring == "vocab":
            return log_probs_in_training(hidden, self.head, tokens)
        return self.head.logits(hidden, tokens)

    def _normalised(self, logits: Tensor, parents: Tensor, rows: Tensor, level: int) -> Tensor:
        """log p of a level's tokens (n, codes) after n parents, of which each is in a row."""
        if self.scoring == "level":
            return logits.log_softmax(-1)
        subset = self.subset
        if subset is not None:
            subset = replace(subset, offset=subset.offset[rows])
        allowed = Children.of(self.trie, parents, level, subset).allowed_tokens()
        return log_probs_over_allowed(logits, allowed)
