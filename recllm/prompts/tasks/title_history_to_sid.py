"""The titles of a history, and the next item's SID."""

from collections.abc import Sequence
from typing import ClassVar

from recllm.catalog.histories import History
from recllm.prompts.tasks import CatalogText, HistoryTask


class TitleHistoryToSid(HistoryTask):
    """Title history -> next SID: what a model knows of titles, put to use (MiniOneRec, LC-Rec)."""

    phrasings: ClassVar = (
        "A customer bought these products, the latest last. Which item code comes next?",
        "Here are titles from someone's order list in time order. Give the code of the next item.",
        "Someone went through the titles below in turn. Write the code that they go to next.",
        "Follow this list of titles with the code of the item most likely to come after it.",
    )
    ranks_items: ClassVar = "always"

    def input(self, catalog: CatalogText, history: History) -> str:
        """The titles, one a line."""
        return catalog.title_history(history)

    def answers(self, catalog: CatalogText) -> Sequence[str]:
        """The SIDs."""
        return catalog.sid_texts
