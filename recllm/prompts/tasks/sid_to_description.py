"""An item's SID, and its description."""

from collections.abc import Sequence
from typing import ClassVar

from recllm.prompts.tasks import CatalogText, ItemTask
from recllm.prompts.tasks._descriptions import Described


class SidToDescription(Described, ItemTask):
    """SID -> description of every item that has one (LC-Rec)."""

    phrasings: ClassVar = (
        "Describe the product with this code:",
        "What is there to say about the item behind this code?",
        "Write the product description that goes with this item code.",
        "Explain what a buyer of this coded item gets.",
    )

    def inputs(self, catalog: CatalogText) -> Sequence[str]:
        """The SIDs."""
        return catalog.sid_texts

    def answers(self, catalog: CatalogText) -> Sequence[str]:
        """The descriptions."""
        return self.descriptions(catalog)
