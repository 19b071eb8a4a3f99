"""Shorter histories of the same interactions: an augmentation of training rows."""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.prompts.training import IGNORED

Collator = Callable[[list[dict[str, Any]]], dict[str, Any]]


class ItemDropout:
    """A collator that leaves items out of the rows of each batch, then collates them.

    What is left of a sequence is a sequence too: an item is learned to follow the one before the
    one before it as well, as co-visitation counts pairs within a window (compare the item crops
    and masks of CL4SRec, Xie et al., 2022). How likely an item is left out is drawn for each
    batch, evenly between 0 and `most`, so that rows of like length stay so.

    Rows that answer in text, or that close their answer, are no sequences but of other tasks: they
    stay as they are.

    A batch draws from its own content and the seed: a resumed training draws what an
    uninterrupted one would.
    """

    def __init__(
        self,
        collate: Collator,
        token_ids: Sequence[NDArray[np.integer]] | NDArray[np.integer],
        most: float,
        seed: int,
    ) -> None:
        """Wrap a collator.

        Args:
            collate: makes tensors of rows with `input_ids` and `labels`.
            token_ids: for each level the tokens of its codes.
            most: the highest chance with which an item is left out.
            seed: equal seeds and batches give equal rows.
        """
        self._collate = collate
        self._level_of = np.full(max(int(tokens.max()) for tokens in token_ids) + 1, -1)
        for level, tokens in enumerate(token_ids):
            self._level_of[tokens] = level
        self._most = most
        self._seed = seed

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch, from shorter rows."""
        content = np.concatenate([np.asarray(row["input_ids"], dtype=np.int64) for row in rows])
        rng = np.random.default_rng([self._seed, zlib.crc32(content.tobytes())])
        chance = rng.uniform(0, self._most)
        return self._collate([self._shorten(row, chance, rng) for row in rows])

    def _shorten(
        self, row: dict[str, Any], chance: float, rng: np.random.Generator
    ) -> dict[str, Any]:
        ids, labels = np.asarray(row["input_ids"]), np.asarray(row["labels"])
        item = self._items(ids)
        if (labels[item < 0] != IGNORED).any():
            return row
        left_out = rng.random(item.max(initial=-1) + 1) < chance
        left_out = np.append(left_out, False)  # for the text, item -1, too
        kept = ~left_out[item]
        # The first item that is left has no history to be predicted from.
        labels = np.where(item == left_out.argmin(), IGNORED, labels)
        if not (labels[kept] != IGNORED).any():
            return row
        return row | {"input_ids": ids[kept].tolist(), "labels": labels[kept].tolist()}

    def _items(self, ids: NDArray[np.integer]) -> NDArray[np.int64]:
        """Which item, counted from 0, each token is part of; -1 for the text before them."""
        known = ids < len(self._level_of)
        level = np.where(known, self._level_of[np.where(known, ids, 0)], -1)
        return np.where(level >= 0, np.cumsum(level == 0) - 1, -1)
