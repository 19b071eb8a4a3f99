"""An item's description, and its SID."""

from collections.abc import Sequence
from typing import ClassVar

from recllm.prompts.tasks import CatalogText, ItemTask
from recllm.prompts.tasks._descriptions import Described


class DescriptionToSid(Described, ItemTask):
    """Description -> SID of every item that has one (LC-Rec)."""

    phrasings: ClassVar = (
        "Which code belongs to the product described here?",
        "Find the item code for this description:",
        "Someone describes a product as follows. Answer with its code.",
        "Read what is said of the product and write its code.",
    )

    def inputs(self, catalog: CatalogText) -> Sequence[str]:
        """The descriptions."""
        return self.descriptions(catalog)

    def answers(self, catalog: CatalogText) -> Sequence[str]:
        """The SIDs."""
        return catalog.sid_texts
