"""Items by number: the digits of a number are the codes of a SID."""

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.sids import SidIndex
from recllm.data_prep.quantizers import IndexingInput


def smallest_base(count: int, places: int) -> int:
    """The smallest base in which the numbers below `count` have at most `places` digits."""
    base = max(round(count ** (1 / places)) - 1, 1)
    while base**places < count:
        base += 1
    return base


def digits(numbers: NDArray[np.integer], base: int, places: int) -> NDArray[np.int32]:
    """(numbers, places) the digits of each number, the most significant one first."""
    powers = base ** np.arange(places - 1, -1, -1, dtype=np.int64)
    return (numbers[:, None] // powers % base).astype(np.int32)


def code_sizes(codes: NDArray[np.int32]) -> tuple[int, ...]:
    """The number of codes of each level of `codes` (items, levels), counted to the highest."""
    return tuple(int(highest) + 1 for highest in codes.max(axis=0))


def number_items(numbers: NDArray[np.integer], given: IndexingInput) -> SidIndex:
    """SIDs of one length that write the items' numbers, each of 0, 1, 2, … once, as digits.

    Raises:
        UserError: the catalogue is empty, or larger than the SIDs that the recipe allows.
    """
    given.require_room()
    base = smallest_base(len(numbers), given.levels)
    codes = digits(numbers, base, given.levels)
    return SidIndex(given.items.ids, codes, code_sizes(codes))
