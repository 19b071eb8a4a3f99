"""An item's title, and its SID."""

from collections.abc import Sequence
from typing import ClassVar

from recllm.prompts.tasks import CatalogText, ItemTask


class TitleToSid(ItemTask):
    """Title -> SID of every item: what ties the new tokens to words (LC-Rec, MiniOneRec)."""

    phrasings: ClassVar = (
        "Which code belongs to the product with this title?",
        "Look up the code of this product:",
        "The line below is a product's title. Answer with its code.",
        "Translate this title into an item code:",
    )

    def inputs(self, catalog: CatalogText) -> Sequence[str]:
        """The titles."""
        return catalog.one_line_titles

    def answers(self, catalog: CatalogText) -> Sequence[str]:
        """The SIDs."""
        return catalog.sid_texts
