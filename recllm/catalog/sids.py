"""Semantic IDs: one code a level for each item, written as new tokens such as <a_12><b_200>."""

import json
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recllm.errors import UserError


@dataclass(frozen=True)
class SidIndex:
    """The SIDs of a catalogue.

    Attributes:
        item_ids: the user's id of each item, in the order of the dense index.
        codes: (items, levels) int32, each in [0, codes_per_level).
        codes_per_level: K; the vocabulary gains levels × K tokens, used or not.
    """

    item_ids: list[str]
    codes: NDArray[np.int32]
    codes_per_level: int

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def levels(self) -> int:
        """How many codes a SID has."""
        return self.codes.shape[1]

    def tokens(self) -> list[str]:
        """Every SID token, level by level: K tokens of level a, then of level b, …"""
        return [
            sid_token(level, code)
            for level in range(self.levels)
            for code in range(self.codes_per_level)
        ]

    def text(self, item: int) -> str:
        """The SID of an item as text."""
        return "".join(sid_token(level, code) for level, code in enumerate(self.codes[item]))

    def texts(self) -> list[str]:
        """The SID of every item as text."""
        return [self.text(item) for item in range(len(self))]

    def write(self, path: Path) -> None:
        """Write the index as Parquet: item_id, codes (list<int32>); K in the file's metadata."""
        table = pa.table({"item_id": self.item_ids, "codes": list(self.codes)})
        metadata = {"recllm": json.dumps({"codes_per_level": self.codes_per_level})}
        pq.write_table(table.replace_schema_metadata(metadata), path)

    @classmethod
    def read(cls, path: Path) -> "SidIndex":
        """Read an index that `write` made.

        Raises:
            UserError: the file is missing or is not a SID index.
        """
        try:
            table = pq.read_table(path)
            described = json.loads((table.schema.metadata or {})[b"recllm"])
            codes = np.array(table["codes"].to_pylist(), dtype=np.int32)
        except (OSError, pa.ArrowInvalid, KeyError, ValueError) as error:
            raise UserError(f"{path}: expected a SID index, but {error!r}") from None
        return cls(table["item_id"].to_pylist(), codes, described["codes_per_level"])


def sid_token(level: int, code: int) -> str:
    """The token of one code: level 0 is a, level 1 is b, …"""
    return f"<{string.ascii_lowercase[level]}_{code}>"
