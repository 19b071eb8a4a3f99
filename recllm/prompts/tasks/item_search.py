"""Item search: what somebody is looking for, in words, and the item's SID."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.prompts.drawing import draw
from recllm.prompts.examples import NOWHERE, Example, Examples, Material, Texts
from recllm.prompts.tasks import Task, TextFile
from recllm.prompts.tasks._texts import place_texts, text_keys

HISTORY, WANTED = "Chosen before:", "Looking for:"


class ItemSearch(Task):
    """An intent in words -> SID, with or without the user's history (LC-Rec's item search).

    Intents are a column of the items, or come from a file with the column item_id and one of
    texts: of each item as many as there are. A file may also have user_id and row, the place in
    the log (from 0, as ingested) of the interaction that each intent is of; then an intent is
    trained only where that is a training interaction, and the others are counted.

    `history: mixed` shows the user's history in half of the examples. With histories, an item's
    intents are asked for once for each training row that ends in the item, else once for each.
    """

    phrasings: ClassVar = (
        "Answer this search with the code of the item that fits.",
        "A visitor of the shop tells what they need. Which item code meets it?",
        "Turn what is wanted here into one item code.",
        "Which coded item should this person be shown?",
    )
    words: ClassVar = (HISTORY, WANTED)

    file: Path | None = Field(default=None, description="item_id and texts; [user_id and row]")
    column: str = Field(
        default="intent", description="of the texts: in the file, or without one of the items"
    )
    history: Literal["never", "mixed", "always"] = "mixed"

    @property
    def trains_one_target(self) -> bool:
        """Whether it shows histories."""
        return self.history != "never"

    @property
    def item_columns(self) -> tuple[str, ...]:
        """The column of the intents, where there is no file."""
        return () if self.file is not None else (self.column,)

    @property
    def text_file(self) -> TextFile | None:
        """The file, where there is one."""
        if self.file is None:
            return None
        return TextFile(self.file, self.column, ("item_id",), ("user_id", "row"))

    def examples(self, material: Material) -> Examples:
        """See the class."""
        texts = material.texts if self.file is not None else _of_column(material, self.column)
        assert texts is not None
        if texts.rows is not None:
            return self._of_interactions(material, texts)
        return self._of_items(material, texts)

    def held_out_examples(self, material: Material) -> Examples:
        """One for each intent that is tied to the target of a row.

        Intents of items as such may be trained with other rows of theirs: none of them is held
        out.
        """
        texts, rows = material.texts, material.rows
        if texts is None or texts.rows is None:
            nothing = np.zeros(0, dtype=np.int64)
            counts = {"targets_whose_intents_may_be_trained": len(rows)}
            at = {"target": nothing, "first": nothing}
            return self._written(material, [], nothing, **at, counts=counts)
        places = place_texts(self.name, material, texts)
        order = np.argsort(rows.histories.ends, kind="stable")
        targets = rows.histories.ends[order]
        at = np.minimum(np.searchsorted(targets, places), max(len(targets) - 1, 0))
        chosen = np.flatnonzero((places != NOWHERE) & (targets[at] == places))
        row = order[at[chosen]]
        starts = rows.histories.starts[row]
        counts = {"targets_without_intent": len(rows) - len(np.unique(row))}
        written = [texts.texts[i] for i in chosen.tolist()]
        return self._asked(material, written, places[chosen], starts, counts)

    def _of_interactions(self, material: Material, texts: Texts) -> Examples:
        """One for each intent of a training interaction."""
        places = place_texts(self.name, material, texts)
        placed = np.flatnonzero(places != NOWHERE)
        chosen = placed[material.sequences.is_training(places[placed])]
        counts = {
            "texts_of_unknown_rows": len(places) - len(placed),
            "texts_of_held_out_rows": len(placed) - len(chosen),
        }
        starts = material.sequences.offsets[material.sequences.owners(places[chosen])]
        if self.history == "always":
            kept = places[chosen] > starts
            counts["targets_without_history"] = int((~kept).sum())
            chosen, starts = chosen[kept], starts[kept]
        written = [texts.texts[i] for i in chosen.tolist()]
        return self._asked(material, written, places[chosen], starts, counts)

    def _of_items(self, material: Material, texts: Texts) -> Examples:
        """One for each intent, or with histories for each training row."""
        place = {item_id: item for item, item_id in enumerate(material.catalog.items.ids)}
        assert texts.item_ids is not None
        intents: dict[int, list[str]] = {}
        unknown = 0
        for item_id, text in zip(texts.item_ids, texts.texts, strict=True):
            if item_id in place:
                intents.setdefault(place[item_id], []).append(text)
            else:
                unknown += 1
        counts = {
            "items_without_text": len(place) - len(intents),
            "texts_of_unknown_items": unknown,
        }
        if self.history == "never":
            items = [item for item in sorted(intents) for _ in intents[item]]
            written = [text for item in sorted(intents) for text in intents[item]]
            nowhere = np.full(len(items), NOWHERE)
            ids = np.array(items, dtype=np.int64)
            return self._written(
                material, written, ids, target=nowhere, first=nowhere, counts=counts
            )
        rows = material.rows
        asked = np.flatnonzero(np.isin(rows.target, list(intents)))
        counts["targets_without_text"] = len(rows) - len(asked)
        lots = draw(rows.row[asked], material.seed, f"{self.name} intent").tolist()
        pairs = zip(rows.target[asked].tolist(), lots, strict=True)
        written = [intents[item][lot % len(intents[item])] for item, lot in pairs]
        spans = rows.histories
        return self._asked(material, written, spans.ends[asked], spans.starts[asked], counts)

    def _asked(
        self,
        material: Material,
        written: list[str],
        target: NDArray[np.int64],
        starts: NDArray[np.int64],
        counts: dict[str, int],
    ) -> Examples:
        """Examples for interactions, with the history from `starts` on shown in some of them."""
        rows = material.sequences.rows[target]
        has_history = target > starts
        if self.history == "mixed":
            even = draw(text_keys(rows, written), material.seed, f"{self.name} history") % 2 == 0
            has_history &= even
        elif self.history == "never":
            has_history[:] = False
        first = np.maximum(starts, target - material.max_history)
        first = np.where(has_history, first, target)
        return self._written(material, written, rows, target=target, first=first, counts=counts)

    def _written(
        self,
        material: Material,
        written: list[str],
        ids: NDArray[np.int64],
        *,
        target: NDArray[np.int64],
        first: NDArray[np.int64],
        counts: dict[str, int],
    ) -> Examples:
        """Examples that show the interactions from `first` to the target, which is an interaction.

        Args:
            ids: log rows; the items themselves where there is no interaction.
        """
        sids, items = material.catalog.sid_texts, material.sequences.items
        answered = np.where(target == NOWHERE, ids, items[target])

        def write(index: int) -> Example:
            shown = items[first[index] : target[index]] if first[index] != NOWHERE else items[:0]
            wanted = f"{WANTED} {written[index]}\n"
            if len(shown):
                wanted = f"{HISTORY} {material.catalog.sid_history(shown)}\n{wanted}"
            return Example(wanted, sids[int(answered[index])])

        seen = np.where(first < target, target - 1, NOWHERE)
        counts = {reason: number for reason, number in counts.items() if number}
        return Examples(text_keys(ids, written), target, seen, write, counts)


def _of_column(material: Material, column: str) -> Texts:
    """The texts of a column of the items."""
    found = zip(material.catalog.items.ids, material.catalog.texts_of(column), strict=True)
    pairs = [(item_id, text) for item_id, text in found if text]
    return Texts([text for _, text in pairs], [item_id for item_id, _ in pairs])
