"""The trie of a catalogue: which tokens may follow, and which items they lead to."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recllm.catalog.histories import History
from recllm.catalog.trie_building import (
    FlatArrays,
    flatten,
    paths_of_codes,
    paths_of_sequences,
    paths_of_tokens,
    tokens_of_codes,
)
from recllm.catalog.trie_subset import Subset, are_in, count_between, may_return
from recllm.errors import UserError


@dataclass(frozen=True, eq=False)
class Trie:
    """Item paths as flat arrays, on any device.

    The items are sorted by path. Nodes are numbered level by level from the root (0), and in
    path order within a level, so that the children of a node are a slice and every node covers
    a range of sorted items.

    Attributes:
        symbol: (nodes + most children,) index into its level's alphabet of the token that leads
            to a node; zeros after the last node, so that every child slice can be padded.
        child_start: (nodes above the deepest level + 1,) the first child; the next entry ends
            the slice.
        first_item: (nodes + 1,) start of a node's range of sorted items.
        item_end: (nodes,) its end; None where paths are equally long: then a node's range ends
            where the next node of its level starts.
        order: (items,) the dense index of the item at each sorted position.
        alphabets: for each level the token ids that symbols index.
        level_start: the first node of each level, the root's first, and the number of nodes.
        max_leaf_items: how many items share a leaf at most.
        eos: the token that ends every path, or None where all paths have the same length.
        removed: sorted positions of the items that are never returned (int64, ascending); None
            where there are none. They stay in all the other arrays; see `without`.
    """

    symbol: Tensor
    child_start: Tensor
    first_item: Tensor
    item_end: Tensor | None
    order: Tensor
    alphabets: tuple[Tensor, ...]
    level_start: tuple[int, ...]
    max_leaf_items: int
    eos: int | None
    removed: Tensor | None = None

    @classmethod
    def from_sids(
        cls,
        codes: NDArray[np.integer],
        token_ids: Sequence[NDArray[np.integer]] | NDArray[np.integer],
        eos: int | None = None,
    ) -> "Trie":
        """The trie of SIDs.

        Args:
            codes: (items, levels); where there is an `eos`, a SID may be shorter: then `ENDED`
                follows its last code. Items that share a SID share a leaf.
            token_ids: for each level the token of each of its codes, used or not.
            eos: the token that ends every path; None where all are equally long.

        Raises:
            UserError: no items, codes that their level does not have, or another number of levels.
        """
        codes, alphabets = np.asarray(codes), [np.asarray(tokens) for tokens in token_ids]
        if codes.ndim == 2 and codes.shape[1] != len(alphabets):
            raise UserError(
                f"expected token ids for {codes.shape[1]} levels, found them for {len(alphabets)}"
            )
        if eos is not None:
            paths, alphabets = paths_of_tokens(tokens_of_codes(codes, alphabets), eos)
            return cls._of(flatten(paths), alphabets, eos)
        paths = paths_of_codes(codes, [len(tokens) for tokens in alphabets])
        return cls._of(flatten(paths), alphabets, eos=None)

    @classmethod
    def from_token_sequences(cls, sequences: Sequence[Sequence[int]], eos: int) -> "Trie":
        """The trie of token sequences of any length, one an item, each followed by `eos`.

        Raises:
            UserError: no sequences, or one is empty or holds `eos`.
        """
        paths, alphabets = paths_of_sequences(sequences, eos)
        return cls._of(flatten(paths), alphabets, eos)

    @classmethod
    def _of(cls, flat: FlatArrays, alphabets: list[NDArray], eos: int | None) -> "Trie":
        largest = max(len(alphabet) for alphabet in alphabets)
        dtype = np.uint8 if largest <= 2**8 else np.int16 if largest <= 2**15 else np.int32
        padding = np.zeros(np.diff(flat.child_start).max(), dtype=dtype)
        return cls(
            symbol=torch.from_numpy(np.concatenate([flat.symbol.astype(dtype), padding])),
            child_start=torch.from_numpy(flat.child_start),
            first_item=torch.from_numpy(flat.first_item),
            item_end=None if flat.item_end is None else torch.from_numpy(flat.item_end),
            order=torch.from_numpy(flat.order),
            alphabets=tuple(torch.from_numpy(a.astype(np.int64)) for a in alphabets),
            level_start=flat.level_start,
            max_leaf_items=flat.max_leaf_items,
            eos=eos,
        )

    def __len__(self) -> int:
        """The number of items, with those that were removed."""
        return len(self.order)

    @property
    def depth(self) -> int:
        """The number of tokens of the longest path, EOS included where it ends paths."""
        return len(self.alphabets)

    @property
    def device(self) -> torch.device:
        """Where the arrays are."""
        return self.symbol.device

    @property
    def nbytes(self) -> int:
        """The size of the arrays, in bytes."""
        values = [getattr(self, field.name) for field in fields(self)]
        return sum(v.nbytes for v in (*values, *self.alphabets) if isinstance(v, Tensor))

    def to(self, device: torch.device | str) -> "Trie":
        """This trie on `device`: itself, where it is there already."""

        def move(value: object) -> object:
            if isinstance(value, tuple):
                return tuple(move(part) for part in value)
            return value.to(device) if isinstance(value, Tensor) else value

        if self.symbol.to(device) is self.symbol:
            return self
        return self._like(**{f.name: move(getattr(self, f.name)) for f in fields(self)})

    def _like(self, **changes: Any) -> "Trie":
        """This trie with other fields but the same items: what is known of their order stays."""
        made = replace(self, **changes)
        if "position" in vars(self):
            vars(made)["position"] = self.position
        return made

    def children(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """The children of `nodes`, none of which may be of the deepest level.

        Returns:
            (…, width) child nodes in path order, with width the most children of one of them,
            and the mask of those that exist. Padding is some node or other.
        """
        start = _take(self.child_start, nodes)
        count = _take(self.child_start, nodes + 1) - start
        width = max(1, int(count.max()))
        place = torch.arange(width, dtype=start.dtype, device=self.device)
        children = start.unsqueeze(-1) + place
        return children.clamp_(max=self.level_start[-1] - 1), place < count.unsqueeze(-1)

    def child_symbols(self, children: Tensor) -> Tensor:
        """The symbols that lead to child slices as `children` returns them (int64).

        Arbitrary where padded. Copies slices: far faster than one look-up a child.
        """
        slices = self.symbol.unfold(0, children.shape[-1], 1)
        return slices.index_select(0, children[..., 0].reshape(-1)).view(children.shape).long()

    def symbols(self, nodes: Tensor) -> Tensor:
        """The symbol that leads to each node: an index into its level's alphabet (int64)."""
        return _take(self.symbol, nodes).long()

    def is_leaf(self, nodes: Tensor) -> Tensor:
        """Whether a path ends at each node."""
        inner = len(self.child_start) - 1
        above = nodes.clamp(max=inner - 1)
        childless = _take(self.child_start, above) == _take(self.child_start, above + 1)
        return (nodes >= inner) | childless

    def item_range(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end of the sorted positions of the items below each node."""
        start = _take(self.first_item, nodes)
        if self.item_end is not None:
            return start, _take(self.item_end, nodes)
        end = _take(self.first_item, nodes + 1)
        # The last node of a level is followed by the first of the next, which starts at 0.
        return start, torch.where(end > start, end, len(self))

    @cached_property
    def position(self) -> NDArray[np.int64]:
        """The sorted position of each item."""
        position = np.empty(len(self), dtype=np.int64)
        position[self.order.cpu().numpy()] = np.arange(len(self))
        return position

    @cached_property
    def _removed(self) -> NDArray[np.int64]:
        return np.empty(0, np.int64) if self.removed is None else self.removed.cpu().numpy()

    def without(self, items: Sequence[int] | NDArray[np.integer]) -> "Trie":
        """This trie, which never returns some items any more (dense indices; it may have them).

        The new trie shares all arrays, and takes time for the items removed so far and now, not
        for the catalogue (but for the first call for a catalogue, which finds where its items
        are). It ranks as a trie built without these items would.

        Raises:
            UserError: an item is outside the catalogue.
        """
        positions = np.union1d(self._removed, self._positions(items))
        return self._like(removed=torch.from_numpy(positions).to(self.device))

    def restrict(
        self,
        exclude: Sequence[History] | None,
        only: Sequence[History] | None,
    ) -> Subset | None:
        """What each row may return: the items of `only`, where given, without those of `exclude`.

        For this trie alone: one that `without` makes of it wants its own.

        Raises:
            UserError: an item is outside the catalogue, or the two differ in rows.
        """
        given = [lists for lists in (only, exclude) if lists is not None]
        if not given:
            return None
        if len({len(lists) for lists in given}) > 1:
            raise UserError(f"expected as many rows, found {[len(lists) for lists in given]}")
        # Rows often share one list (the items in stock). The lists are kept in `groups`, so that
        # no identity is used twice.
        groups: dict[tuple[int, ...], tuple[int, object]] = {}
        keys, group_of_row = [np.empty(0, dtype=np.int64)], []
        for lists in zip(*given, strict=True):
            identity = tuple(map(id, lists))
            if identity not in groups:
                groups[identity] = (len(groups), lists)
                positions = self._positions(lists[0])
                for excluded in lists[1:]:
                    positions = np.setdiff1d(positions, self._positions(excluded))
                positions = positions[~are_in(positions, self._removed)]
                keys.append(positions + (len(groups) - 1) * len(self))
            group_of_row.append(groups[identity][0])
        offset = torch.tensor(group_of_row, dtype=torch.int64, device=self.device) * len(self)
        merged = torch.from_numpy(np.concatenate(keys)).to(self.device)
        return Subset(merged, offset, allow=only is not None)

    def _positions(self, items: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
        """The sorted positions of some items, ascending, each once."""
        listed = np.asarray(items, dtype=np.int64)
        if listed.size and (listed.min() < 0 or listed.max() >= len(self)):
            raise UserError(
                f"expected items from 0 to {len(self) - 1}, found {listed.min()} to {listed.max()}"
            )
        return np.unique(self.position[listed])

    def eligible(self, nodes: Tensor, subset: Subset | None) -> Tensor:
        """Whether an item that its row may return lies below each of the nodes (rows, …)."""
        start, end = self.item_range(nodes)
        if subset is not None and subset.allow:
            return subset.count(start, end) > 0
        left = end - start
        if self.removed is not None:
            left = left - count_between(self.removed, start.long(), end.long())
        return left > 0 if subset is None else subset.count(start, end) < left

    def leaf_items(self, leaves: Tensor, subset: Subset | None) -> tuple[Tensor, Tensor]:
        """The items of leaves (rows, n), those of one leaf in catalogue order.

        Returns:
            (rows, n, max_leaf_items) items and the mask of those that exist and may be returned.
        """
        start, end = self.item_range(leaves)
        place = torch.arange(self.max_leaf_items, device=self.device)
        position = start.unsqueeze(-1) + place
        exists = position < end.unsqueeze(-1)
        position = position.clamp(max=len(self) - 1)
        exists &= may_return(position, subset, self.removed)
        return _take(self.order, position), exists


def _take(values: Tensor, index: Tensor) -> Tensor:
    """`values[index]`; several times faster on CPU."""
    return values.index_select(0, index.reshape(-1)).view(index.shape)
