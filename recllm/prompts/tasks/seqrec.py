"""Sequential recommendation: the SIDs of a history, continued with the next item's SID."""

from collections.abc import Sequence
from typing import ClassVar

from recllm.catalog.histories import History
from recllm.prompts.tasks import CatalogText, HistoryTask


class SequentialRecommendation(HistoryTask):
    """SID history -> next SID, the main task of LC-Rec and MiniOneRec.

    Under `sid.quantizer: title` titles take the SIDs' place, as in BIGRec.
    """

    phrasings: ClassVar = (
        "Continue the shopper's items:",
        "What comes next after these items?",
        "Name the item this person picks next:",
    )
    needs_sids: ClassVar = False
    ranks_items: ClassVar = "always"

    @property
    def trains_one_target(self) -> bool:
        """False: its prompt ends as it answers, so that a longer one continues a shorter one."""
        return False

    def input(self, catalog: CatalogText, history: History) -> str:
        """SIDs side by side, titles one a line: a longer history starts as a shorter one does."""
        return catalog.sid_history(history)

    def answers(self, catalog: CatalogText) -> Sequence[str]:
        """The SIDs, or the titles."""
        return catalog.sid_texts
