"""Sequential recommendation: the SIDs of a history, continued with the next item's SID."""

from typing import ClassVar

from recllm.catalog.histories import History
from recllm.prompts.tasks import CatalogText, Task


class SequentialRecommendation(Task):
    """SID history -> next SID, the main task of LC-Rec and MiniOneRec."""

    phrasings: ClassVar = (
        "Continue the shopper's items:",
        "What comes next after these items?",
        "Name the item this person picks next:",
    )

    def input(self, catalog: CatalogText, history: History) -> str:
        """SIDs side by side: a longer history starts with the text of a shorter one."""
        return "".join(catalog.sid_texts[item] for item in history)

    def answer(self, catalog: CatalogText, target: int) -> str:
        """The target's SID."""
        return catalog.sid_texts[target]
