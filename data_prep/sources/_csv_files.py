"""How a delimited file is laid out, and the lines in which its records begin."""

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

#: How much of a file is looked at at once, in bytes.
_CHUNK = 2**20


@dataclass(frozen=True)
class Layout:
    """How a delimited file is laid out; without a header its columns are told."""

    columns: tuple[str, ...]
    delimiter: str
    encoding: str = "utf-8"
    header: bool = False
    quote: str = ""

    @property
    def first_line(self) -> int:
        """The line of the first row, from 1."""
        return 2 if self.header else 1


@dataclass(frozen=True)
class Records:
    """Where the records of a CSV file stand. A quoted value may go on over several lines.

    Attributes:
        lines: (records,) int64, the line, from 1, in which each begins; the first is the header.
        blanks: the places, from 1, that blank lines have where they are counted with the records.
    """

    lines: NDArray[np.int64]
    blanks: list[int]


def opened(path: Path) -> IO[bytes]:
    """The bytes of a file, unpacked where it is packed."""
    gzipped = path.name.lower().endswith(".gz")
    return cast("IO[bytes]", gzip.open(path) if gzipped else path.open("rb"))


def csv_layout(path: Path) -> Layout:
    """The layout that the first line of a CSV or TSV file shows."""
    with opened(path) as file:
        first = file.readline().decode("utf-8-sig").rstrip("\r\n")
    tabbed = path.name.lower().removesuffix(".gz").endswith(".tsv")
    delimiter = "\t" if tabbed else max(",;\t|", key=first.count)
    names = next(csv.reader([first], delimiter=delimiter), [])
    return Layout(tuple(names), delimiter, header=True, quote='"')


def find_records(path: Path, rows: int) -> Records | None:
    """Where the records of a CSV file stand; for files of which something is wrong.

    Args:
        rows: how many the file has, the header left out.

    Returns:
        None where every record is the line at its own place, which takes but a look at the bytes;
        and where Python's reader finds another number of them, as it may where quotes are stray.
    """
    if _count_lines(path) == rows + 1:
        return None
    lines, blanks, line = [], [], 1
    with opened(path) as file:
        text = io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")
        reader = csv.reader(text, delimiter=csv_layout(path).delimiter)
        try:
            for record in reader:
                if record:
                    lines.append(line)
                else:
                    blanks.append(len(lines) + len(blanks) + 1)
                line = reader.line_num + 1
        except csv.Error:  # a value that is longer than any should be
            return None
    if len(lines) != rows + 1:
        return None
    return Records(np.array(lines, dtype=np.int64), blanks)


def _count_lines(path: Path) -> int:
    breaks, last = 0, b"\n"
    with opened(path) as file:
        for chunk in _chunks(file):
            breaks, last = breaks + chunk.count(b"\n"), chunk[-1:]
    return breaks + (last != b"\n")


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk
