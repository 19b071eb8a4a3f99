"""Builds the flat arrays of a trie from item paths, without a loop over items."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from recllm.errors import UserError

#: Fills a path after its end.
ENDED = -1


@dataclass(frozen=True)
class FlatArrays:
    """The arrays of `Trie` in numpy; see there."""

    symbol: NDArray[np.integer]
    child_start: NDArray[np.int32]
    first_item: NDArray[np.int32]
    item_end: NDArray[np.int32] | None
    order: NDArray[np.int32]
    level_start: tuple[int, ...]
    max_leaf_items: int


@dataclass(frozen=True)
class _Level:
    """The nodes of one depth: their ranges of sorted items and the symbols that lead to them."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    symbols: NDArray[np.integer]

    def tiles(self, items: int) -> bool:
        """Whether the ranges follow each other from the first item to the last."""
        bounds = np.append(self.starts, items)
        return bounds[0] == 0 and bool((bounds[1:] == self.ends).all())


def flatten(paths: NDArray[np.integer]) -> FlatArrays:
    """The trie of `paths`: (items, depth) symbols from 0 on, `ENDED` after the end of a path.

    No path may be a proper prefix of another; equal paths share a leaf.
    """
    order = np.lexsort(paths.T[::-1])
    levels = _levels(paths[order])
    level_start = np.cumsum([0, *(len(level.starts) for level in levels)])
    child_start = [
        first + np.searchsorted(below.starts, level.starts)
        for level, below, first in zip(levels[:-1], levels[1:], level_start[1:], strict=False)
    ]
    children = np.append(np.concatenate(child_start), level_start[-1]).astype(np.int32)
    starts = np.concatenate([level.starts for level in levels])
    ends = np.concatenate([level.ends for level in levels])
    is_leaf = np.ones(len(starts), dtype=bool)
    is_leaf[: len(children) - 1] = np.diff(children) == 0
    tiled = all(level.tiles(len(paths)) for level in levels)
    return FlatArrays(
        symbol=np.concatenate([level.symbols for level in levels]),
        child_start=children,
        first_item=np.append(starts, len(paths)).astype(np.int32),
        item_end=None if tiled else ends.astype(np.int32),
        order=order.astype(np.int32),
        level_start=tuple(level_start.tolist()),
        max_leaf_items=int((ends - starts)[is_leaf].max()),
    )


def _levels(ordered: NDArray[np.integer]) -> list[_Level]:
    """The nodes of every depth, the root's first, of lexicographically sorted paths."""
    items, depth = ordered.shape
    root_symbol = np.zeros(1, dtype=ordered.dtype)
    levels = [_Level(np.zeros(1, dtype=np.int64), np.array([items]), root_symbol)]
    differs = np.zeros(items, dtype=bool)
    differs[0] = True
    for column in range(depth):
        symbols = np.ascontiguousarray(ordered[:, column])
        differs[1:] |= symbols[1:] != symbols[:-1]
        starts = np.flatnonzero(differs)
        ends = np.append(starts[1:], items)
        if ordered.dtype.kind == "i":
            going_on = symbols[starts] != ENDED
            starts, ends = starts[going_on], ends[going_on]
        levels.append(_Level(starts, ends, symbols[starts]))
    return levels


def paths_of_codes(codes: NDArray[np.integer], sizes: Sequence[int]) -> NDArray[np.integer]:
    """`codes` (items, levels) in the smallest dtype, which also sorts fastest.

    Args:
        sizes: the number of codes of each level.

    Raises:
        UserError: there are no items, or a code is outside [0, its level's size).
    """
    _check_codes(codes, sizes, codes.min(axis=0, initial=0))
    largest = max(sizes)
    dtype = np.uint8 if largest <= 2**8 else np.uint16 if largest <= 2**15 else None
    return codes.astype(dtype or np.int32)


def tokens_of_codes(
    codes: NDArray[np.integer], token_ids: Sequence[NDArray[np.integer]]
) -> NDArray[np.int64]:
    """The tokens of `codes` (items, levels), `ENDED` after the end of a path in both.

    Args:
        token_ids: the token of each code of each level.

    Raises:
        UserError: there are no items, a code is outside its level's, or stands after an end.
    """
    ended = codes == ENDED
    least = np.where(ended, 0, codes).min(axis=0, initial=0)
    _check_codes(codes, [len(tokens) for tokens in token_ids], least)
    resumed = ended[:, 0] | (ended[:, :-1] & ~ended[:, 1:]).any(axis=1)
    if resumed.any():
        item = int(resumed.argmax())
        raise UserError(
            f"expected codes with nothing but {ENDED} after their end, found "
            f"{codes[item].tolist()} for item {item}"
        )
    found = [tokens[column] for tokens, column in zip(token_ids, codes.T, strict=True)]
    return np.where(ended, ENDED, np.stack(found, axis=1))


def _check_codes(
    codes: NDArray[np.integer], sizes: Sequence[int], least: NDArray[np.integer]
) -> None:
    if codes.ndim != 2 or 0 in codes.shape:
        raise UserError(f"expected SIDs of shape (items, levels), found {codes.shape}")
    for level, (size, low, high) in enumerate(zip(sizes, least, codes.max(axis=0), strict=True)):
        if low < 0 or high >= size:
            raise UserError(
                f"expected codes from 0 to {size - 1} at level {level + 1}, found {low} to {high}; "
                "build the SIDs with as many codes as the vocabulary has tokens a level"
            )


def paths_of_sequences(
    sequences: Sequence[Sequence[int]], eos: int
) -> tuple[NDArray[np.integer], list[NDArray[np.int64]]]:
    """As `paths_of_tokens`, of lists of tokens.

    Raises:
        UserError: there are no sequences, or one is empty or holds `eos`.
    """
    lengths = np.fromiter(map(len, sequences), dtype=np.int64, count=len(sequences))
    if not lengths.all() or len(lengths) == 0:
        empty = np.flatnonzero(lengths == 0)[:5].tolist()
        raise UserError(f"expected at least one token for each item, found none for {empty}")
    tokens = np.fromiter(chain.from_iterable(sequences), dtype=np.int64, count=lengths.sum())
    rows = np.repeat(np.arange(len(lengths)), lengths)
    places = np.arange(len(tokens)) - np.repeat(lengths.cumsum() - lengths, lengths)
    padded = np.full((len(lengths), lengths.max()), ENDED, dtype=np.int64)
    padded[rows, places] = tokens
    return paths_of_tokens(padded, eos)


def paths_of_tokens(
    tokens: NDArray[np.int64], eos: int
) -> tuple[NDArray[np.integer], list[NDArray[np.int64]]]:
    """Symbols of token paths with `eos` at their end, and the tokens that they stand for.

    Args:
        tokens: (items, longest), `ENDED` after the end; no path is empty.

    Returns:
        (items, depth) symbols, `ENDED` after the end; for each depth its token ids, sorted.

    Raises:
        UserError: a path holds `eos`.
    """
    has_eos = (tokens == eos).any(axis=1)
    if has_eos.any():
        raise UserError(
            f"expected item token sequences without EOS ({eos}), found it in item "
            f"{int(has_eos.argmax())}"
        )
    lengths = (tokens != ENDED).sum(axis=1)
    longest = int(lengths.max())
    padded = np.full((len(tokens), longest + 1), ENDED, dtype=np.int64)
    padded[:, :-1] = tokens[:, :longest]
    padded[np.arange(len(tokens)), lengths] = eos
    paths = np.full(padded.shape, ENDED, dtype=np.int32)
    alphabets = []
    for depth, column in enumerate(padded.T):
        alphabet = np.unique(column[column != ENDED])
        alphabets.append(alphabet)
        paths[:, depth] = np.where(column == ENDED, ENDED, np.searchsorted(alphabet, column))
    return paths, alphabets
