"""Items by number: the digits of a number are the codes of a SID."""

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.sids import SidIndex
from recllm.data_prep.quantizers import ExtensionInput, IndexingInput


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


def number_later_items(given: ExtensionInput, places: NDArray[np.integer]) -> SidIndex:
    """The SIDs that `number_items` made, and of the items that come later the next numbers.

    Only numbers whose digits the model has tokens for; the first of them is the lowest that no
    item has.

    Args:
        places: which of the new items gets the first of these, which the second, … (each once).

    Raises:
        UserError: there are not as many such numbers.
    """
    given.require_room()
    sizes = given.sids.sizes
    # Counted with another base at each level, so that no number needs a token that is not there.
    taken: NDArray[np.integer] = np.asarray(np.ravel_multi_index(tuple(given.sids.codes.T), sizes))
    lowest = np.arange(min(len(given.index) + len(places), int(np.prod(sizes, dtype=np.int64))))
    free = np.setdiff1d(lowest, taken)[: len(places)]
    numbers = np.empty(len(places), dtype=np.int64)
    numbers[places] = free
    return given.with_codes(np.stack(np.unravel_index(numbers, sizes), axis=1).astype(np.int32))
