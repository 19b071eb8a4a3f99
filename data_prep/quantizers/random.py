"""Random indexing: items by random numbers, the baseline of all schemes."""

import numpy as np

from recllm.data_prep.quantizers import (
    Extension,
    ExtensionInput,
    Indexer,
    Indexing,
    IndexingInput,
)
from recllm.data_prep.quantizers._numbers import number_items, number_later_items


class Random(Indexer):
    """Random indexing (RID) of Hua et al. (2023), "How to Index Item IDs for Recommendation
    Foundation Models": items that share a prefix have nothing else in common.

    As there, an item is a random number, written digit by digit. There the digits are the pieces
    into which T5's tokenizer cuts decimal numbers; here they are new tokens, one a level, in the
    smallest base that gives all items numbers of `sid.levels` digits, at most `sid.codes`.
    """

    def index(self, given: IndexingInput) -> Indexing:
        """See the base class."""
        numbers = np.random.default_rng(given.seed).permutation(len(given.items))
        return Indexing(number_items(numbers, given))

    def extend(self, given: ExtensionInput) -> Extension:
        """The next numbers, in random order."""
        order = np.random.default_rng(given.seed).permutation(len(given.items))
        return Extension(number_later_items(given, order))
