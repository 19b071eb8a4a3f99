"""TALLRec: what somebody liked and disliked, one more title, and Yes or No."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from recllm.errors import UserError
from recllm.prompts.examples import CatalogText, Example, Examples, Material
from recllm.prompts.tasks import Task

YES, NO = "Yes", "No"
LIKED, DISLIKED, ASKED, NOTHING = "Liked:", "Not liked:", "In question:", "nothing"


class Tallrec(Task):
    """Liked and disliked titles and a target -> Yes or No (Bao et al., 2023, arXiv:2305.00447).

    Something is liked where its rating is above a threshold: 3 in the paper, for movies rated
    from 1 to 5. The target's title is shown, and its rating is what is asked for. Rows whose
    target, or whose shown history, has no rating at all are left out and counted.
    """

    phrasings: ClassVar = (
        "Judge by this person's taste whether they will like the title in question. "
        "Answer Yes or No.",
        "Below is what someone liked and did not like. Is the title in question for them, "
        "Yes or No?",
        "Would you hand the title in question to the owner of these lists? Say Yes or No.",
        "Decide with Yes or No: does the title in question suit the likes and dislikes listed?",
    )
    words: ClassVar = (LIKED, DISLIKED, ASKED, NOTHING, YES, NO)
    verdicts: ClassVar = (YES, NO)
    needs_sids: ClassVar = False
    needs_ratings: ClassVar = True

    liked_above: float = Field(
        default=3.0, allow_inf_nan=False, description="a rating above it means liked"
    )

    def examples(self, material: Material) -> Examples:
        """One for each row with ratings."""
        rows, catalog, ratings = material.rows, material.catalog, material.ratings
        if ratings is None:
            raise UserError("task tallrec: expected a log with ratings, found none")
        spans = rows.histories
        first = np.maximum(spans.starts, spans.ends - material.max_history)
        rated = np.concatenate([[0], np.cumsum(~np.isnan(ratings))])
        asked = ~np.isnan(ratings[spans.ends])
        known = rated[spans.ends] > rated[first]
        chosen = np.flatnonzero(asked & known)

        def write(index: int) -> Example:
            row = int(chosen[index])
            shown = slice(int(first[row]), int(spans.ends[row]))
            text = self._input(catalog, spans.items[shown], ratings[shown], int(rows.target[row]))
            likes = ratings[spans.ends[row]] > self.liked_above
            return Example(text, YES if likes else NO)

        counts = {
            "targets_without_rating": int((~asked).sum()),
            "histories_without_rating": int((asked & ~known).sum()),
        }
        counts = {reason: number for reason, number in counts.items() if number}
        target = spans.ends[chosen]
        return Examples(rows.row[chosen], target, target - 1, write, counts)

    def _input(
        self, catalog: CatalogText, items: np.ndarray, ratings: np.ndarray, target: int
    ) -> str:
        titles = catalog.one_line_titles

        def listed(chosen: np.ndarray) -> str:
            return ", ".join(f'"{titles[item]}"' for item in items[chosen]) or NOTHING

        liked, disliked = ratings > self.liked_above, ratings <= self.liked_above
        lines = (
            f"{LIKED} {listed(liked)}",
            f"{DISLIKED} {listed(disliked)}",
            f'{ASKED} "{titles[target]}"',
        )
        return "".join(line + "\n" for line in lines)
