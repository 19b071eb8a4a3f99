"""What a model writes for each item: a semantic ID, or its title.

A semantic ID (SID) is one code a level, written as new tokens such as <a_12><b_200>.
"""

import json
import string
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recllm.catalog.trie_building import ENDED
from recllm.errors import UserError

#: Levels are named by letters.
MOST_LEVELS = len(string.ascii_lowercase)


@dataclass(frozen=True)
class ItemIndex(ABC):
    """The path of each item of a catalogue: the tokens that stand for it.

    Attributes:
        item_ids: the user's id of each item, in the order of the dense index.
    """

    item_ids: list[str]

    #: What follows each item in a history, so that it can be told from the next one.
    separator: ClassVar[str]

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    @abstractmethod
    def variable_depth(self) -> bool:
        """Whether paths differ in length, so that a model must say where an item ends."""

    @abstractmethod
    def tokens(self) -> list[str]:
        """The tokens that a vocabulary gains for this index."""

    @abstractmethod
    def texts(self) -> list[str]:
        """The path of every item as text."""

    @abstractmethod
    def prefixes(self) -> NDArray[np.int32]:
        """(items, depth): items that share leading entries share as much of their paths."""

    def begins_with(self, other: "ItemIndex") -> bool:
        """Whether the first items are those of `other`, with the same paths."""
        first = len(other)
        return self.item_ids[:first] == other.item_ids and self.texts()[:first] == other.texts()

    @abstractmethod
    def write(self, path: Path) -> None:
        """Write the index as Parquet, for `read_index`."""


@dataclass(frozen=True)
class SidIndex(ItemIndex):
    """The SIDs of a catalogue.

    Attributes:
        codes: (items, levels) int32, each below its level's number of codes; `ENDED` after the
            end of a SID that is shorter than others.
        codes_per_level: K, the same at every level, or one number a level; the vocabulary gains
            a token for each code, used or not.
    """

    codes: NDArray[np.int32]
    codes_per_level: int | tuple[int, ...]

    separator: ClassVar[str] = ""

    @property
    def levels(self) -> int:
        """How many codes a SID has, the longest one where they differ."""
        return self.codes.shape[1]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of codes of each level."""
        given = self.codes_per_level
        return (given,) * self.levels if isinstance(given, int) else given

    @property
    def variable_depth(self) -> bool:
        """Whether some SIDs are shorter than others."""
        return bool((self.codes == ENDED).any())

    def tokens(self) -> list[str]:
        """Every SID token, level by level: K tokens of level a, then of level b, …"""
        return [
            sid_token(level, code) for level, size in enumerate(self.sizes) for code in range(size)
        ]

    def text(self, item: int) -> str:
        """The SID of an item as text."""
        codes = enumerate(self.codes[item].tolist())
        return "".join(sid_token(level, code) for level, code in codes if code != ENDED)

    def texts(self) -> list[str]:
        """The SID of every item as text."""
        return [self.text(item) for item in range(len(self))]

    def begins_with(self, other: ItemIndex) -> bool:
        """As the base class; codes are compared, which is faster than texts."""
        first = len(other)
        return (
            isinstance(other, SidIndex)
            and (self.item_ids[:first], self.sizes) == (other.item_ids, other.sizes)
            and np.array_equal(self.codes[:first], other.codes)
        )

    def prefixes(self) -> NDArray[np.int32]:
        """The codes."""
        return self.codes

    def write(self, path: Path) -> None:
        """Write the index as Parquet: item_id, codes (list<int32>); K in the file's metadata."""
        present = self.codes != ENDED
        offsets = np.concatenate([[0], present.sum(axis=1).cumsum()]).astype(np.int32)
        codes = pa.ListArray.from_arrays(offsets, self.codes[present].astype(np.int32))
        table = pa.table({"item_id": pa.array(self.item_ids, pa.string()), "codes": codes})
        metadata = {"recllm": json.dumps({"codes_per_level": self.codes_per_level})}
        pq.write_table(table.replace_schema_metadata(metadata), path)

    @classmethod
    def read(cls, path: Path) -> "SidIndex":
        """Read an index that `write` made.

        Raises:
            UserError: the file is missing or is not a SID index.
        """
        index = read_index(path)
        if not isinstance(index, cls):
            raise UserError(
                f"{path}: expected SIDs, found an index of titles; "
                "build it with another sid.quantizer"
            )
        return index


@dataclass(frozen=True)
class TitleIndex(ItemIndex):
    """Items by their titles, no two alike: no new tokens.

    Attributes:
        titles: the title of each item, without line breaks.
    """

    titles: list[str]

    separator: ClassVar[str] = "\n"

    @property
    def variable_depth(self) -> bool:
        """True: titles have as many tokens as they have."""
        return True

    def tokens(self) -> list[str]:
        """None: a title is written in the tokens that a model has."""
        return []

    def texts(self) -> list[str]:
        """The titles."""
        return self.titles

    def prefixes(self) -> NDArray[np.int32]:
        """(items, 1): which tokens titles share, only a tokenizer tells."""
        return np.unique(self.titles, return_inverse=True)[1].astype(np.int32)[:, None]

    def write(self, path: Path) -> None:
        """Write the index as Parquet: item_id, title."""
        columns = {"item_id": self.item_ids, "title": self.titles}
        pq.write_table(pa.table({n: pa.array(v, pa.string()) for n, v in columns.items()}), path)


def read_index(path: Path) -> ItemIndex:
    """Read an index that `ItemIndex.write` made.

    Raises:
        UserError: the file is missing or is none.
    """
    try:
        table = pq.read_table(path)
        item_ids = table["item_id"].to_pylist()
        if "title" in table.column_names:
            return TitleIndex(item_ids, table["title"].to_pylist())
        described = json.loads((table.schema.metadata or {})[b"recllm"])
        sizes = described["codes_per_level"]
        codes = _padded(table["codes"].combine_chunks())
    except (OSError, pa.ArrowInvalid, KeyError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: expected a SID index, but {error!r}") from None
    return SidIndex(item_ids, codes, sizes if isinstance(sizes, int) else tuple(sizes))


def _padded(lists: pa.ListArray) -> NDArray[np.int32]:
    """(lists, longest) their values, `ENDED` after the end of a shorter one."""
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    codes = np.full((len(lists), lengths.max(initial=0)), ENDED, dtype=np.int32)
    codes[np.arange(codes.shape[1]) < lengths[:, None]] = lists.flatten().to_numpy()
    return codes


def sid_token(level: int, code: int) -> str:
    """The token of one code: level 0 is a, level 1 is b, …"""
    return f"<{string.ascii_lowercase[level]}_{code}>"
