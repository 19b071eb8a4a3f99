"""BIGRec: the titles of a history, and the next item's title."""

from collections.abc import Sequence
from typing import ClassVar

from recllm.catalog.histories import History
from recllm.prompts.tasks import CatalogText, HistoryTask


class Bigrec(HistoryTask):
    """Title history -> next title, as BIGRec trains (Bao et al., 2023, arXiv:2308.08434).

    The answer is the title alone, closed by the end-of-sequence token.
    """

    phrasings: ClassVar = (
        "A person's choices are listed by title, the latest at the end. Write the title they add.",
        "Extend this list of titles by the one that its owner wants most.",
        "From the titles below, guess the next title on the same person's list.",
        "What would you recommend to somebody with this list? Answer with one title.",
    )
    needs_sids: ClassVar = False
    ranks_items: ClassVar = "by title"

    def input(self, catalog: CatalogText, history: History) -> str:
        """The titles, one a line."""
        return catalog.title_history(history)

    def answers(self, catalog: CatalogText) -> Sequence[str]:
        """The titles."""
        return catalog.one_line_titles
