"""Tasks: each turns a history and a target into an instruction, an input and an answer."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from recllm.catalog.histories import History
from recllm.catalog.items import Items
from recllm.catalog.sids import ItemIndex
from recllm.config.registry import Plugin


@dataclass(frozen=True)
class CatalogText:
    """What tasks may write of an item."""

    items: Items
    sids: ItemIndex

    @cached_property
    def sid_texts(self) -> list[str]:
        """The path of every item as text (its SID, or its title), by dense index."""
        return self.sids.texts()

    @property
    def titles(self) -> list[str]:
        """The title of every item, by dense index."""
        return self.items.titles


class Task(Plugin):
    """Base of the tasks. Subclasses are one file each."""

    #: Ways to put the instruction; evaluation uses the first.
    phrasings: ClassVar[tuple[str, ...]]

    @abstractmethod
    def input(self, catalog: CatalogText, history: History) -> str:
        """What the prompt shows of a history (dense indices, oldest first). Never the target."""

    @abstractmethod
    def answer(self, catalog: CatalogText, target: int) -> str:
        """The completion for a target."""
