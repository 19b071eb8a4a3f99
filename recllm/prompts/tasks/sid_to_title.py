"""An item's SID, and its title."""

from collections.abc import Sequence
from typing import ClassVar

from recllm.prompts.tasks import CatalogText, ItemTask


class SidToTitle(ItemTask):
    """SID -> title of every item (LC-Rec, MiniOneRec)."""

    phrasings: ClassVar = (
        "What is the product with this code called?",
        "Give the title that this item code stands for:",
        "Read the code and write the product's title.",
        "Spell out in words which product this code names:",
    )

    def inputs(self, catalog: CatalogText) -> Sequence[str]:
        """The SIDs."""
        return catalog.sid_texts

    def answers(self, catalog: CatalogText) -> Sequence[str]:
        """The titles."""
        return catalog.one_line_titles
