"""The SIDs of a history, and the next item's description."""

from collections.abc import Sequence
from typing import ClassVar

from recllm.catalog.histories import History
from recllm.prompts.tasks import CatalogText, HistoryTask
from recllm.prompts.tasks._descriptions import Described


class SidHistoryToDescription(Described, HistoryTask):
    """SID history -> next description (one form of LC-Rec's asymmetric prediction)."""

    phrasings: ClassVar = (
        "Item codes of a customer in time order follow. Describe the product that comes next.",
        "What will this person look for after the coded items? Describe it.",
        "These codes stand for past choices. Write what the next choice offers.",
        "Picture the product that continues this list of codes and say what it is like.",
    )

    def input(self, catalog: CatalogText, history: History) -> str:
        """The SIDs side by side."""
        return catalog.sid_history(history)

    def answers(self, catalog: CatalogText) -> Sequence[str]:
        """The descriptions."""
        return self.descriptions(catalog)
