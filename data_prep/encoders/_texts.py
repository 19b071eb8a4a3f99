"""The text of an item that a language model reads, and the distinct texts of a catalogue."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.items import Items
from recllm.config.registry import nearest
from recllm.errors import UserError

#: Those that an items table may have.
USUAL_FIELDS = ("title", "brand", "categories", "description")


def item_texts(items: Items, fields: Sequence[str] | None, separator: str) -> list[str]:
    """The text of each item: its fields, white space made single spaces, with a separator between.

    An item's empty or missing fields are passed over; with none left, its text is empty.

    Args:
        fields: columns of the items table; None: those of USUAL_FIELDS that it has.

    Raises:
        UserError: the table lacks a column.
    """
    chosen = [f for f in USUAL_FIELDS if f in items.columns] if fields is None else fields
    for field in chosen:
        if field not in items.columns:
            close = nearest(field, items.columns)
            hint = f"did you mean {close!r}? " if close else ""
            raise UserError(
                f"fields: the items have no column {field!r}; {hint}"
                f"found: {', '.join(items.columns)}"
            )
    columns = [map(_tidy, items.table[field].to_pylist()) for field in chosen]
    return [separator.join(filter(None, row)) for row in zip(*columns, strict=True)]


def _tidy(value: object) -> str:
    return "" if value is None else " ".join(str(value).split())


@dataclass(frozen=True)
class DistinctTexts:
    """The distinct texts of some items, empty ones left out.

    Attributes:
        texts: longest first, then by the alphabet: batches of like length, whatever the order of
            the items.
        place: (items,) int64, the place of each item's text among them; -1 where it has none.
    """

    texts: list[str]
    place: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "DistinctTexts":
        """The distinct ones among `texts`, one for each item."""
        distinct = sorted({text for text in texts if text}, key=lambda text: (-len(text), text))
        places = {text: place for place, text in enumerate(distinct)}
        return cls(distinct, np.array([places.get(text, -1) for text in texts], dtype=np.int64))

    def spread(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(items, width): each item's vector out of those of the texts; zero for one without."""
        result = np.zeros((len(self.place), vectors.shape[1]), dtype=np.float32)
        has_text = self.place >= 0
        result[has_text] = vectors[self.place[has_text]]
        return result
