"""What items under one prefix of their SIDs have in common, against chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.histories import Spans
from recllm.catalog.sid_tree import node_ids


@dataclass(frozen=True)
class AgainstChance:
    """A share of pairs of items, and what it would be if SIDs had nothing to do with it."""

    found: float
    chance: float

    @property
    def lift(self) -> float | None:
        """How many times chance the share is; None where chance is nil."""
        return self.found / self.chance if self.chance else None


@dataclass(frozen=True)
class PrefixHealth:
    """The prefixes of one length.

    Attributes:
        prefixes: how many there are.
        same_category: of the pairs of items with the same prefix, the share with the same
            categories; by chance, the share of all pairs of items. None without such pairs.
        covisited: of the pairs of different items that follow each other in training sequences,
            the share with the same prefix; by chance, that of pairs whose second item is drawn
            from all pairs. None without such pairs.
    """

    prefixes: int
    same_category: AgainstChance | None
    covisited: AgainstChance | None


def measure_prefixes(
    codes: NDArray[np.int32], sequences: Spans, categories: Sequence[str | None] | None
) -> list[PrefixHealth]:
    """One entry for each length of a prefix: from 1 code to one less than the longest SID has.

    Args:
        codes: (items, levels), `ENDED` (-1) after the end of a shorter SID.
        sequences: the training part of every sequence.
        categories: of each item, as one text; None where the catalogue has none.
    """
    pairs = covisited_pairs(sequences)
    labels = None if categories is None else _labels(categories)
    found = []
    for depth in range(1, codes.shape[1]):
        group = node_ids(codes + 1, depth, int(codes.max()) + 2)
        same_category = None if labels is None else share_category(group, labels)
        found.append(PrefixHealth(int(group.max()) + 1, same_category, share_prefix(group, *pairs)))
    return found


def covisited_pairs(sequences: Spans) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The different items that follow each other in a sequence: the first and the second ones."""
    owner, items = sequences.flatten()
    together = (owner[1:] == owner[:-1]) & (items[1:] != items[:-1])
    return items[:-1][together], items[1:][together]


def share_category(group: NDArray[np.int64], category: NDArray[np.int64]) -> AgainstChance | None:
    """Whether items of one group have one category.

    Args:
        group: (items,).
        category: (items,) -1 where an item has none; it is left out.
    """
    known = category >= 0
    group, category = group[known], category[known]
    within = _equal_pairs(group)
    if not within:
        return None
    both = _equal_pairs(group * (int(category.max()) + 1) + category)
    items = len(category)
    return AgainstChance(both / within, _equal_pairs(category) / (items * (items - 1) // 2))


def share_prefix(
    group: NDArray[np.int64], first: NDArray[np.int32], second: NDArray[np.int32]
) -> AgainstChance | None:
    """Whether the items of pairs are of one group.

    By chance, each first item is met with the second item of any pair that is another item.

    Args:
        group: (items,).
        first, second: (pairs,) items.
    """
    same_item = int(_counts(first, len(group)) @ _counts(second, len(group)))
    possible = len(first) ** 2 - same_item
    if possible <= 0:
        return None
    groups = int(group.max()) + 1
    same = int(_counts(group[first], groups) @ _counts(group[second], groups)) - same_item
    return AgainstChance(float((group[first] == group[second]).mean()), same / possible)


def _counts(values: NDArray[np.integer], size: int) -> NDArray[np.int64]:
    return np.bincount(values, minlength=size)


def _equal_pairs(keys: NDArray[np.int64]) -> int:
    """How many pairs of entries are equal."""
    counts = np.unique(keys, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _labels(categories: Sequence[str | None]) -> NDArray[np.int64]:
    """(items,) a number for each different text; -1 where there is none."""
    number: dict[str, int] = {}
    return np.array(
        [number.setdefault(text, len(number)) if text else -1 for text in categories],
        dtype=np.int64,
    )
