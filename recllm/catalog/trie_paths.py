"""From items back to the paths that lead to them."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from recllm.catalog.trie import Trie
from recllm.catalog.trie_subset import Subset, may_return
from recllm.errors import UserError

#: Stands for no item, and fills what there is no node or token for.
ABSENT = -1


@dataclass(frozen=True)
class ItemPaths:
    """The paths of some items, padded to the depth of their trie.

    Attributes:
        nodes: (…, depth) int64, the node of each token; `ABSENT` after the path's end, and where
            there is no item.
        tokens: (…, depth) int64, the token ids, padded alike; EOS is one where the trie has it.
    """

    nodes: Tensor
    tokens: Tensor


def item_paths(trie: Trie, items: Tensor) -> ItemPaths:
    """The paths of `items` (…): dense indices on any device, or `ABSENT`.

    Takes a binary search for each item and level. Items that share a leaf have one path.

    Raises:
        UserError: an item is outside the catalogue.
    """
    present, position = _positions(trie, items)
    nodes, tokens = [], []
    for alphabet, (first, after) in zip(
        trie.alphabets, pairwise(trie.level_start[1:]), strict=True
    ):
        place = torch.searchsorted(trie.first_item[first:after], position, right=True) - 1
        node = first + place.clamp(min=0)
        start, end = trie.item_range(node)
        exists = present & (start <= position) & (position < end)
        nodes.append(node.masked_fill(~exists, ABSENT))
        tokens.append(alphabet[trie.symbols(node)].masked_fill(~exists, ABSENT))
    return ItemPaths(torch.stack(nodes, dim=-1), torch.stack(tokens, dim=-1))


def are_eligible(trie: Trie, items: Tensor, subset: Subset | None) -> Tensor:
    """Whether each row may return its `items` (rows, …); False where `ABSENT`.

    Raises:
        UserError: an item is outside the catalogue.
    """
    present, position = _positions(trie, items)
    return present & may_return(position, subset, trie.removed)


def _positions(trie: Trie, items: Tensor) -> tuple[Tensor, Tensor]:
    """Which items there are, and their sorted positions (int32; 0 where there is none)."""
    listed = items.cpu()
    if listed.numel() and not bool(((listed >= ABSENT) & (listed < len(trie))).all()):
        raise UserError(
            f"expected items from 0 to {len(trie) - 1}, or {ABSENT} for none, found "
            f"{int(listed.min())} to {int(listed.max())}"
        )
    present = listed != ABSENT
    position = torch.from_numpy(trie.position)[listed.long().clamp(min=0)]
    position = position.masked_fill(~present, 0).int()
    return present.to(trie.device), position.to(trie.device)
