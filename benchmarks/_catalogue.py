"""A random catalogue, and its trie as research code keeps it: a dictionary of prefixes."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

#: A sequence of token ids.
Tokens = tuple[int, ...]


def random_sids(items: int, levels: int, codes: int) -> NDArray[np.int32]:
    """(items, levels) codes, no two rows the same, in random order."""
    rng = np.random.default_rng(0)
    numbers = rng.choice(codes**levels, items, replace=False)
    return np.stack(np.unravel_index(numbers, (codes,) * levels), axis=1).astype(np.int32)


def sid_token_ids(levels: int, codes: int, first: int) -> NDArray[np.int64]:
    """(levels, codes) token ids, in a row from `first` on."""
    return np.arange(first, first + levels * codes).reshape(levels, codes)


def sid_paths(codes: NDArray[np.integer], token_ids: NDArray[np.integer]) -> list[Tokens]:
    """The token ids of each SID."""
    return [tuple(path) for path in token_ids[np.arange(len(token_ids)), codes].tolist()]


def allowed_after(paths: Iterable[Tokens]) -> dict[Tokens, list[int]]:
    """The tokens that may follow each prefix of the paths."""
    following: dict[Tokens, set[int]] = {}
    for path in paths:
        for depth, token in enumerate(path):
            following.setdefault(path[:depth], set()).add(token)
    return {prefix: sorted(tokens) for prefix, tokens in following.items()}
