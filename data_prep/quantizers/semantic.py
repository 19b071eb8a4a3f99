"""Semantic indexing: items by their categories."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.catalog.sids import SidIndex
from recllm.catalog.trie_building import ENDED
from recllm.data_prep.quantizers import Indexer, Indexing, IndexingInput
from recllm.data_prep.quantizers._categories import (
    CategoryPath,
    category_codes,
    category_paths,
    groups_of,
)
from recllm.data_prep.quantizers._numbers import code_sizes, digits, smallest_base


class Semantic(Indexer):
    """Semantic (content-based) indexing (SemID) of Hua et al. (2023), "How to Index Item IDs for
    Recommendation Foundation Models": a category path, then a number within the category.

    As there, each name of a category is a token, and SIDs differ in length. Here a name is
    another token at each depth; numbers of categories with more than `sid.codes` items have
    several digits, in the smallest base in which they do; paths are cut where path and number
    would be longer than `sid.levels`; and what all paths start with is left out. Items without
    categories, which there are none of there, are numbered beside the most general ones.
    """

    separator: str = Field(default=" > ", min_length=1, description="between an item's categories")

    @property
    def variable_depth(self) -> bool:
        """True."""
        return True

    def index(self, given: IndexingInput) -> Indexing:
        """See the base class; counts `items_without_categories` and `category_paths_cut`."""
        given.require_room()
        whole = category_paths(given.items, self.separator)
        paths = _cut(whole, given.levels, given.codes)
        codes, names = category_codes(paths, given.levels)
        _append_numbers(codes, paths, names, given.codes)
        codes = codes[:, : int((codes != ENDED).sum(axis=1).max())]
        counts = {
            "items_without_categories": sum(not path for path in whole),
            "category_paths_cut": sum(a != b for a, b in zip(whole, paths, strict=True)),
        }
        return Indexing(SidIndex(given.items.ids, codes, code_sizes(codes)), counts=counts)


def _cut(paths: list[CategoryPath], levels: int, codes: int) -> list[CategoryPath]:
    """The paths, cut so that behind each there is room for the numbers of the items that have it.

    A path that is cut may meet others, so that more items are to be numbered behind it.
    """
    paths = [path[: levels - 1] for path in paths]
    while True:
        group, _ = groups_of(paths)
        needed = np.array([_places(int(size), codes) for size in np.bincount(group)])
        cut = [path[: levels - places] for path, places in zip(paths, needed[group], strict=True)]
        if cut == paths:
            return paths
        paths = cut


def _places(items: int, codes: int) -> int:
    """How many digits below `codes` number so many items."""
    places = 1
    while codes**places < items:
        places += 1
    return places


def _append_numbers(
    codes: NDArray[np.int32], paths: list[CategoryPath], names: list[int], most: int
) -> None:
    """Write each item's number within its path behind it, in codes that follow the names'."""
    group, place = groups_of(paths)
    first_code = np.array(names, dtype=np.int32)
    order = np.argsort(group, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        places = _places(len(members), most)
        start = len(paths[members[0]])
        numbers = digits(place[members], smallest_base(len(members), places), places)
        levels = slice(start, start + places)
        codes[members, levels] = numbers + first_code[levels]
