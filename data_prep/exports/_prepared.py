"""What is exported: items with SIDs, sequences and the rows of each split."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from recllm.catalog.histories import Sequences, SplitName, SplitRows
from recllm.catalog.items import Items
from recllm.catalog.sids import SidIndex
from recllm.errors import UserError

SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")
TOKEN = re.compile(r"<[^<>]+>")


@dataclass(frozen=True)
class Prepared:
    """A log as the stages filter, split and sid left it.

    Attributes:
        items: the catalogue.
        sids: the tokens of each item's SID, in the order of the catalogue.
        sequences: the interactions.
        rows: the rows of each split.
        max_history: only the last items of a history are shown to a model.
    """

    items: Items
    sids: list[list[str]]
    sequences: Sequences
    rows: Mapping[SplitName, SplitRows]
    max_history: int

    @classmethod
    def read(
        cls, filtered: Path, split: Path, sids: list[list[str]], max_history: int
    ) -> "Prepared":
        """Read the artifacts of the stages filter and split."""
        sequences = Sequences.read(split)
        return cls(
            items=Items.read(filtered / "items.parquet"),
            sids=sids,
            sequences=sequences,
            rows={name: SplitRows.read(split, name, sequences) for name in SPLITS},
            max_history=max_history,
        )

    @cached_property
    def numbers(self) -> list[int]:
        """The number of each item: its own id where these count the items, else its index.

        The projects use an item's number as a row of their embeddings: they count from 0.
        """
        count = len(self.items)
        if {*self.items.ids} == {str(number) for number in range(count)}:
            return [int(item_id) for item_id in self.items.ids]
        return list(range(count))

    @cached_property
    def in_order(self) -> list[int]:
        """The items in the order of their numbers."""
        return sorted(range(len(self.items)), key=self.numbers.__getitem__)


def given_sids(items: Items) -> list[list[str]] | None:
    """The tokens of the SIDs that the log came with, or None where an item has none."""
    if "sid" not in items.columns or not len(items):
        return None
    sids = items.table["sid"].to_pylist()
    return None if None in sids else [TOKEN.findall(sid) for sid in sids]


def built_sids(path: Path, items: Items) -> list[list[str]]:
    """The tokens of the SIDs of the stage sid.

    Raises:
        UserError: they are those of other items, or titles.
    """
    index = SidIndex.read(path)
    if index.item_ids != items.ids:
        raise UserError(f"{path}: expected the SIDs of the catalogue's items, found others")
    return [TOKEN.findall(text) for text in index.texts()]
