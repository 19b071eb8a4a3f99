"""Sequential recommendation: the SIDs of a history, continued with the next item's SID."""

from typing import ClassVar

from recllm.catalog.histories import History
from recllm.prompts.tasks import CatalogText, Task


class SequentialRecommendation(Task):
    """SID history -> next SID, the main task of LC-Rec and MiniOneRec.

    Under `sid.quantizer: title` titles take the SIDs' place, as in BIGRec.
    """

    phrasings: ClassVar = (
        "Continue the shopper's items:",
        "What comes next after these items?",
        "Name the item this person picks next:",
    )

    def input(self, catalog: CatalogText, history: History) -> str:
        """SIDs side by side, titles one a line: a longer history starts as a shorter one does."""
        separator = catalog.sids.separator
        return "".join(catalog.sid_texts[item] + separator for item in history)

    def answer(self, catalog: CatalogText, target: int) -> str:
        """The target's SID, or its title."""
        return catalog.sid_texts[target]
