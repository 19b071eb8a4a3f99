"""Hybrid indexing: what items have in common, then a token of each one's own."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.catalog.sids import SidIndex
from recllm.catalog.trie_building import ENDED
from recllm.data_prep.quantizers import Indexer, Indexing, IndexingInput
from recllm.data_prep.quantizers._categories import category_codes, category_paths
from recllm.data_prep.quantizers._numbers import code_sizes
from recllm.data_prep.quantizers.collaborative import Collaborative


class Hybrid(Indexer):
    """Hybrid indexing (HID) of Hua et al. (2023), "How to Index Item IDs for Recommendation
    Foundation Models": the prefix of another scheme and, in place of the number that tells items
    with the same prefix apart, a token that no other item has (there called CID+IID, SemID+IID).

    So the vocabulary gains a token for each item, whatever `sid.codes` says, which bounds the
    prefix. That is `collaborative`'s, or `semantic`'s with paths cut to one code less than
    `sid.levels`; what differs from the paper is told there.
    """

    prefix: Literal["collaborative", "semantic"] = "collaborative"
    window: int = Field(default=10, ge=1, description="of the collaborative prefix")
    separator: str = Field(default=" > ", min_length=1, description="of the semantic prefix")

    @property
    def variable_depth(self) -> bool:
        """Whether categories make the prefix."""
        return self.prefix == "semantic"

    def index(self, given: IndexingInput) -> Indexing:
        """See the base class; counts what the prefix's scheme counts."""
        if self.prefix == "semantic":
            return self._behind_categories(given)
        clustered = Collaborative(window=self.window).index(given)
        codes = clustered.index.prefixes().copy()
        codes[:, -1] = np.arange(len(codes))
        return Indexing(
            SidIndex(given.items.ids, codes, code_sizes(codes)), counts=clustered.counts
        )

    def _behind_categories(self, given: IndexingInput) -> Indexing:
        whole = category_paths(given.items, self.separator)
        paths = [path[: given.levels - 1] for path in whole]
        codes, names = category_codes(paths, given.levels)
        _append_own(codes, np.array([len(path) for path in paths]), names)
        codes = codes[:, : int((codes != ENDED).sum(axis=1).max())]
        counts = {
            "items_without_categories": sum(not path for path in whole),
            "category_paths_cut": sum(a != b for a, b in zip(whole, paths, strict=True)),
        }
        return Indexing(SidIndex(given.items.ids, codes, code_sizes(codes)), counts=counts)


def _append_own(codes: NDArray[np.int32], depth: NDArray[np.int64], names: list[int]) -> None:
    """Write a code of its own behind each item's path, after the codes of the names there."""
    for level in range(codes.shape[1]):
        here = np.flatnonzero(depth == level)
        codes[here, level] = names[level] + np.arange(len(here))
