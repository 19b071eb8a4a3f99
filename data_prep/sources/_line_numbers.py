"""Where the rows of a user's file stand in it, for messages and for rows that are set aside."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recllm.data_prep.sources._csv_files import find_records
from recllm.data_prep.sources._reading import format_of
from recllm.data_prep.sources._text_files import is_json_array


@dataclass(frozen=True)
class LineNumbers:
    """The lines of a file's rows, from 1; of a file without lines, the rows' numbers.

    Attributes:
        unit: line or row.
        first: the number of the first row.
        lines: (rows,) int64, the line in which each row begins, where not each is a line.
    """

    unit: str
    first: int
    lines: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, path: Path, rows: int) -> "LineNumbers":
        """Those of a file with so many rows, as `load` has numbered them."""
        kind = format_of(path)
        if kind == "csv":
            records = find_records(path, rows)
            return cls("line", 2, None if records is None else records.lines[1:])
        counted = kind == "parquet" or (kind == "json" and is_json_array(path))
        return cls("row" if counted else "line", 1)

    def number(self, row: int) -> int:
        """The number of a row, which is counted from 0."""
        return row + self.first if self.lines is None else int(self.lines[row])

    def told(self, row: int) -> str:
        """Where a row stands, in words."""
        return f"{self.unit} {self.number(row)}"
