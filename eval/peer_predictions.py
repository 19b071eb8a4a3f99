"""Predictions as MiniOneRec's evaluation writes them, scored by what is written alone.

A JSON list with an object for each test row: `output`, the SID that followed (or a list that
starts with it), and `predict`, the SIDs that were recommended, best first.
"""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.errors import UserError

#: The cutoffs that its calc.py reports, those above the number of predictions left out.
CUTOFFS = (1, 3, 5, 10, 20, 50)
#: What its calc.py takes away around a SID.
_AROUND = '" \n'
_EXPECTED = "expected a JSON list of objects with output and predict, as MiniOneRec writes it"


@dataclass(frozen=True)
class PeerPredictions:
    """What a file of predictions says of each row.

    Attributes:
        ranks: (rows,) int32, the 0-based place of the first prediction that is the target, -1
            where none is. SIDs are compared: those that several items share are one.
        width: predictions of the row that has fewest.
        unknown: predictions that are no SID of the catalogue, down to the target's place; None
            where no catalogue was given.
    """

    ranks: NDArray[np.int32]
    width: int
    unknown: int | None

    @property
    def cutoffs(self) -> list[int]:
        """Those that every row has predictions for."""
        return [k for k in CUTOFFS if k <= self.width]

    @classmethod
    def read(cls, path: Path, info: Path | None = None) -> "PeerPredictions":
        """Read a file, plain or gzipped.

        Args:
            info: the catalogue as MiniOneRec has it, lines of SID, title and item id with tabs
                between.

        Raises:
            UserError: a file cannot be read or is something else.
        """
        rows = _read_rows(path)
        known = None if info is None else _read_sids(info)
        ranks = np.full(len(rows), -1, dtype=np.int32)
        unknown = 0
        for index, row in enumerate(rows):
            target, predicted = _target(path, index, row), _predicted(path, index, row)
            if target in predicted:
                ranks[index] = predicted.index(target)
                predicted = predicted[: ranks[index] + 1]
            unknown += sum(sid not in known for sid in predicted) if known is not None else 0
        width = min(len(row["predict"]) for row in rows)
        return cls(ranks, width, None if known is None else unknown)


def _read_rows(path: Path) -> Sequence[Any]:
    try:
        rows = json.loads(_read(path))
    except ValueError as error:
        raise UserError(f"{path}: {_EXPECTED}; it is no JSON: {error}") from None
    if not isinstance(rows, list) or not rows:
        found = "an empty list" if rows == [] else type(rows).__name__
        raise UserError(f"{path}: {_EXPECTED}, found {found}")
    return rows


def _read_sids(path: Path) -> set[str]:
    sids = {line.split("\t")[0].strip() for line in _read(path).splitlines() if line.strip()}
    if not sids:
        raise UserError(f"{path}: expected a line for each item, SID first, found none")
    return sids


def _read(path: Path) -> str:
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8") as file:
            return file.read()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read: {problem}") from None


def _target(path: Path, index: int, row: Any) -> str:
    output = row.get("output") if isinstance(row, dict) else None
    if isinstance(output, list) and output:
        output = output[0]
    if not isinstance(output, str):
        raise UserError(f"{path}: {_EXPECTED}; object {index} has no text as output")
    return output.strip(_AROUND)


def _predicted(path: Path, index: int, row: Any) -> list[str]:
    predicted = row.get("predict")
    if not isinstance(predicted, list) or not all(isinstance(sid, str) for sid in predicted):
        raise UserError(f"{path}: {_EXPECTED}; object {index} has no list of texts as predict")
    return [sid.strip(_AROUND) for sid in predicted]
