"""Sequential indexing: items numbered as they come up in the training sequences."""

import numpy as np

from recllm.data_prep.quantizers import (
    Extension,
    ExtensionInput,
    Indexer,
    Indexing,
    IndexingInput,
)
from recllm.data_prep.quantizers._numbers import number_items, number_later_items


class Sequential(Indexer):
    """Sequential indexing (SID) of Hua et al. (2023), "How to Index Item IDs for Recommendation
    Foundation Models": items that follow each other in a sequence share prefixes.

    As there, the training sequences are gone through one after the other, in the order in which
    the split has them, and each item gets the next number when it is first met. Items without a
    training interaction, which are not considered there, are numbered after all others. There
    numbers count from 1001 and are cut by T5's tokenizer; here their digits are new tokens, as
    in `random`.
    """

    def index(self, given: IndexingInput) -> Indexing:
        """See the base class; counts `items_without_training`."""
        met, first = np.unique(given.sequences.flatten()[1], return_index=True)
        others = np.setdiff1d(np.arange(len(given.items)), met)
        order = np.concatenate([met[np.argsort(first)], others]).astype(np.int64)
        numbers = np.empty(len(order), dtype=np.int64)
        numbers[order] = np.arange(len(order))
        counts = {"items_without_training": len(others)}
        return Indexing(number_items(numbers, given), counts=counts)

    def extend(self, given: ExtensionInput) -> Extension:
        """The next numbers, in the items' order: none was in a training sequence."""
        return Extension(number_later_items(given, np.arange(len(given.items))))
