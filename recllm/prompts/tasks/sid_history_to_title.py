"""The SIDs of a history, and the next item's title."""

from collections.abc import Sequence
from typing import ClassVar

from recllm.catalog.histories import History
from recllm.prompts.tasks import CatalogText, HistoryTask


class SidHistoryToTitle(HistoryTask):
    """SID history -> next title (MiniOneRec; one form of LC-Rec's asymmetric prediction)."""

    phrasings: ClassVar = (
        "Item codes of a customer in time order follow. What is the next item called?",
        "Tell the title of the product that this person will want after the coded ones.",
        "These codes stand for past choices. Write the title of the choice that follows.",
        "Given the coded items seen so far, name the next one in plain words.",
    )

    def input(self, catalog: CatalogText, history: History) -> str:
        """The SIDs side by side."""
        return catalog.sid_history(history)

    def answers(self, catalog: CatalogText) -> Sequence[str]:
        """The titles."""
        return catalog.one_line_titles
