"""Preferences in words: a history and the text, the text and the next item."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.errors import UserError
from recllm.prompts.examples import NOWHERE, Example, Examples, Material
from recllm.prompts.tasks import Task, TextFile
from recllm.prompts.tasks._texts import place_texts, text_keys

TO_TEXT, TO_SID = 0, 1


class Preference(Task):
    """History -> preference in words, and preference -> next SID (LC-Rec's preference inference).

    The texts come from a file with the columns user_id, row and one of texts. `row` is the last
    interaction of the log that the text was written from, inclusive, counted from 0 as ingested.
    The history that a text is asked for ends with that interaction. A training target is asked
    for from the latest text of its user that was written before it, if there is one. A text that
    was written from an interaction that is not trained on is a leak and refused.
    """

    phrasings: ClassVar = (
        "Sum up in a few words what the owner of these item codes is after.",
        "What does this person care about? Judge by the coded items they chose.",
        "Write down the taste that speaks from these item codes.",
    )
    sid_phrasings: ClassVar[tuple[str, ...]] = (
        "Someone puts what they like as follows. Which item code should they be offered?",
        "Answer this wish list with the code of one fitting item.",
        "Choose the item code that serves the preferences below best.",
    )

    file: Path = Field(description="user_id, row and the texts: CSV, JSON lines or Parquet")
    column: str = Field(default="preference", description="of the texts in the file")
    direction: Literal["both", "to_text", "to_sid"] = "both"

    @property
    def forms(self) -> tuple[tuple[str, ...], ...]:
        """To the text, and from it to the SID."""
        return (self.phrasings, self.sid_phrasings)

    @property
    def text_file(self) -> TextFile:
        """The file, with the user and the row of each text."""
        return TextFile(self.file, self.column, ("user_id", "row"))

    def examples(self, material: Material) -> Examples:
        """For each text one, and one for each training target with an earlier text."""
        texts = material.texts
        assert texts is not None and texts.rows is not None
        places = place_texts(self.name, material, texts)
        placed = np.flatnonzero(places != NOWHERE)
        self._refuse_late(material, places[placed])
        placed = placed[np.argsort(places[placed], kind="stable")]
        asked, earlier = _latest_texts(material, places[placed])
        counts = {"texts_of_unknown_rows": len(places) - len(placed)}
        of_text = placed if self.direction != "to_sid" else placed[:0]
        if self.direction == "to_text":
            asked, earlier = asked[:0], earlier[:0]
        else:
            counts["targets_without_text"] = len(material.rows) - len(asked)
        written = np.concatenate([of_text, placed[earlier]])
        row = np.concatenate([np.full(len(of_text), NOWHERE), asked])  # NOWHERE: to the text
        order = np.lexsort((row, places[written]))
        written, row = written[order], row[order]
        to_sid = row != NOWHERE
        texts_of = [texts.texts[i] for i in written.tolist()]

        def write(index: int) -> Example:
            text = texts_of[index]
            if to_sid[index]:
                target = int(material.rows.target[row[index]])
                return Example(text, material.catalog.sid_texts[target], TO_SID)
            history = _history_up_to(material, int(places[written[index]]))
            return Example(material.catalog.sid_history(history), text, TO_TEXT)

        if not len(written):
            nothing = np.zeros(0, dtype=np.int64)
            return Examples(nothing, nothing, nothing, write, counts)
        target = np.where(to_sid, material.rows.histories.ends[row], NOWHERE)
        ids = np.where(to_sid, material.rows.row[row], texts.rows[written])
        keys = text_keys(ids, texts_of) * 2 + to_sid
        counts = {reason: number for reason, number in counts.items() if number}
        return Examples(keys, target, places[written], write, counts)

    def _refuse_late(self, material: Material, places: NDArray[np.int64]) -> None:
        late = places[~material.sequences.is_training(places)]
        if len(late):
            raise UserError(
                f"leak: {len(late)} texts of task {self.name} were written from interactions that "
                f"are not trained on, such as row {material.sequences.rows[late[0]]} of the log; "
                "give texts that were written from training interactions alone"
            )


def _latest_texts(
    material: Material, places: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows whose user has a text from before the target, and the latest such text of each.

    Args:
        places: (texts,) sorted.
    """
    targets = material.rows.histories.ends
    latest = np.searchsorted(places, targets, side="left") - 1
    asked = np.flatnonzero(latest >= 0)
    owner = material.sequences.owners(places[latest[asked]])
    asked = asked[owner == material.rows.sequence[asked]]
    return asked, latest[asked]


def _history_up_to(material: Material, place: int) -> NDArray[np.int32]:
    """The last items that are shown of the history that ends with the interaction at a place."""
    sequences = material.sequences
    start = int(sequences.offsets[sequences.owners(np.array([place]))[0]])
    first = max(start, place + 1 - material.max_history)
    return sequences.items[first : place + 1]
