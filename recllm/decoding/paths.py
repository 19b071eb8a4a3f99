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
    log_mass_of_vocab,
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
    # Taken at once: the gradient of each indexing is as large as the head.
    sizes = [len(alphabet) for alphabet in trie.alphabets]
    heads = head.rows(torch.cat(trie.alphabets)).split(sizes)
    scorer = _Scorer(head, trie, scoring, subset, states, tree, paths)
    levels = [scorer.score(level, level_head) for level, level_head in enumerate(heads)]
    log_probs, entropy = (torch.stack(values, dim=-1) for values in zip(*levels, strict=True))
    return PathScores(log_probs, entropy)


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
    """Scores the tokens of all paths, level by level."""

    head: Head
    trie: Trie
    scoring: Scoring
    subset: Subset | None
    states: Tensor
    tree: _Tree
    paths: ItemPaths

    def score(self, level: int, level_head: Head) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies (rows, items) of the tokens of one level."""
        nodes = self.paths.nodes[..., level]
        present = nodes >= 0
        empty = torch.zeros(nodes.shape, device=nodes.device)
        if not bool(present.any()):
            return empty, empty
        # Each different token that something follows is scored once.
        length = self.states.shape[1]
        first = length * torch.arange(len(nodes), device=nodes.device)
        before = (self.tree.before[..., level] + first[:, None])[present]
        place, which = before.unique(return_inverse=True)
        above = self.paths.nodes[..., level - 1] if level else torch.zeros_like(nodes)
        parents = torch.empty_like(place).index_copy_(0, which, above[present])
        hidden = self.states.flatten(0, 1)[place]
        rows, logits = place // length, level_head.all_logits(hidden)
        log_probs = self._log_probs(hidden, logits, parents, rows, level)
        symbols = self.trie.symbols(nodes[present])
        found = log_probs[which, symbols]
        if bool(found.isneginf().any()):
            raise ValueError("expected items that their rows may return, found another")
        entropy = torch.special.entr(log_probs.detach().softmax(-1)).sum(-1)
        return empty.masked_scatter(present, found), empty.masked_scatter(present, entropy[which])

    def _log_probs(
        self, hidden: Tensor, logits: Tensor, parents: Tensor, rows: Tensor, level: int
    ) -> Tensor:
        """log p (n, codes) of the level's tokens after n parents, of which each is in a row."""
        if self.scoring == "level":
            return logits.log_softmax(-1)
        if self.scoring == "vocab":
            tokens = self.trie.alphabets[level]
            return logits - log_mass_of_vocab(hidden, self.head, tokens, logits)[:, None]
        subset = self.subset
        if subset is not None:
            subset = replace(subset, offset=subset.offset[rows])
        allowed = Children.of(self.trie, parents, level, subset).allowed_tokens()
        return log_probs_over_allowed(logits, allowed)
