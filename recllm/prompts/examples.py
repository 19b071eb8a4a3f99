"""What tasks are made of, and the examples that they make of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recllm.catalog.histories import History, Sequences, SplitRows
from recllm.catalog.items import Items
from recllm.catalog.sids import ItemIndex

#: In the place of an interaction: none.
NOWHERE = -1


@dataclass(frozen=True)
class CatalogText:
    """What tasks may write of an item.

    Attributes:
        separator: between the items of a history; None: SIDs side by side, titles one a line.
    """

    items: Items
    sids: ItemIndex
    separator: str | None = None

    def separated(self, separator: str | None) -> "CatalogText":
        """The same with a separator; None changes nothing."""
        return self if separator is None else replace(self, separator=separator)

    @cached_property
    def sid_texts(self) -> list[str]:
        """The path of every item as text (its SID, or its title), by dense index."""
        return self.sids.texts()

    @property
    def titles(self) -> list[str]:
        """The title of every item, by dense index."""
        return self.items.titles

    @cached_property
    def one_line_titles(self) -> list[str]:
        """The titles without line breaks and runs of spaces."""
        return [" ".join(title.split()) for title in self.titles]

    def texts_of(self, column: str) -> list[str]:
        """A column of the items in one line each; empty where an item has none."""
        return [" ".join((text or "").split()) for text in self.items.table[column].to_pylist()]

    def sid_history(self, history: History) -> str:
        """The SIDs (or titles) of a history: a longer one starts as a shorter one does."""
        return self._listed([self.sid_texts[item] for item in history], self.sids.separator)

    def title_history(self, history: History) -> str:
        """The titles of a history."""
        return self._listed([self.one_line_titles[item] for item in history], "\n")

    def _listed(self, texts: list[str], end: str) -> str:
        if self.separator is None:
            return "".join(text + end for text in texts)
        return self.separator.join(texts)


@dataclass(frozen=True)
class Texts:
    """Texts of users or items, such as preferences and intents.

    Attributes:
        texts: one a row, none empty.
        item_ids, user_ids: whom each is of; None where that is not told.
        rows: (texts,) int64, the log row that each goes with; None where that is not told.
    """

    texts: list[str]
    item_ids: list[str] | None = None
    user_ids: list[str] | None = None
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def write(self, folder: Path, task: str) -> None:
        """Keep the texts of a task in a folder, for `read`."""
        given = {
            "text": pa.array(self.texts, pa.string()),
            "item_id": self.item_ids and pa.array(self.item_ids, pa.string()),
            "user_id": self.user_ids and pa.array(self.user_ids, pa.string()),
            "row": self.rows,
        }
        table = pa.table({name: values for name, values in given.items() if values is not None})
        pq.write_table(table, folder / f"texts-{task}.parquet")

    @classmethod
    def read(cls, folder: Path, task: str) -> "Texts | None":
        """What `write` kept of a task; None where it kept nothing."""
        path = folder / f"texts-{task}.parquet"
        if not path.is_file():
            return None
        table = pq.read_table(path)
        found = {name: table[name] for name in table.column_names}
        ids = {n: found[n].to_pylist() if n in found else None for n in ("item_id", "user_id")}
        rows = found["row"].to_numpy() if "row" in found else None
        texts = found["text"].to_pylist()
        return cls(texts, item_ids=ids["item_id"], user_ids=ids["user_id"], rows=rows)


@dataclass(frozen=True)
class Material:
    """What the examples of a task are made of.

    Attributes:
        sequences: all interactions; which of them a task may use, `rows` and `train_ends` say.
        rows: the histories and targets that history tasks make examples of.
        max_history: only the last items of a history are shown.
        ratings: (interactions,) of the sequences' interactions, NaN where there is none; None for
            a log without ratings.
        texts: those that the task's options name.
    """

    catalog: CatalogText
    sequences: Sequences
    rows: SplitRows
    max_history: int
    seed: int = 0
    ratings: NDArray[np.float64] | None = None
    texts: Texts | None = None

    def places_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where log rows stand in the flat arrays of the sequences; NOWHERE where in none."""
        known = self.sequences.rows
        if not len(known):
            return np.full(len(rows), NOWHERE)
        order = self._order_of_rows
        found = order[np.minimum(np.searchsorted(known[order], rows), len(known) - 1)]
        return np.where(known[found] == rows, found, NOWHERE)

    @cached_property
    def _order_of_rows(self) -> NDArray[np.int64]:
        return np.argsort(self.sequences.rows, kind="stable")


@dataclass(frozen=True)
class Example:
    """A prompt's input and its answer.

    Attributes:
        form: which of the task's forms it has, and so which phrasings.
    """

    input: str
    answer: str
    form: int = 0


@dataclass(frozen=True)
class Examples:
    """The examples that a task can be made of; each is written only when it is asked for.

    Attributes:
        keys: (examples,) int64, by which the draws for an example are made, whatever stands
            before it.
        target: (examples,) int64, the place in the sequences' flat arrays of the interaction that
            is asked for; NOWHERE where none is.
        seen: (examples,) int64, the place of the last interaction that the prompt shows or that
            its texts were written from; NOWHERE where there is none.
        write: the example of an index.
        counts: what was left out or cut, and how often.
    """

    keys: NDArray[np.int64]
    target: NDArray[np.int64]
    seen: NDArray[np.int64]
    write: Callable[[int], Example]
    counts: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, sequences: Sequences) -> NDArray[np.int64]:
        """(examples,) the log row of each target, else of what was seen last; NOWHERE if none."""
        place = np.where(self.target == NOWHERE, self.seen, self.target)
        if not len(sequences.rows):
            return place
        return np.where(place == NOWHERE, NOWHERE, sequences.rows[place])
