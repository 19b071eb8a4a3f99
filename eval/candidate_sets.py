"""Candidate sets: for each row of a split the few items that are ranked instead of all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recllm.artifacts.manifest import hash_file
from recllm.catalog.histories import Spans, SplitRows
from recllm.catalog.items import Items
from recllm.config.candidates_section import CandidatesSection
from recllm.errors import UserError

EXPECTED = "a Parquet file with the columns row (integers) and item_id"
#: Draws for each negative that is wanted, before the items that are left are gone through.
_DRAWS = 4


@dataclass(frozen=True)
class CandidateSets:
    """The sets of some rows.

    Attributes:
        items: of each row, ascending by index, so that an item's place says nothing.
        counts: what was met with when they were made, such as sets that came out short.
    """

    items: Spans
    counts: Mapping[str, int]

    @property
    def largest(self) -> int:
        """How many items the largest set has."""
        return int(self.items.lengths.max(initial=0))


def identify(section: CandidatesSection, seed: int) -> dict[str, Any]:
    """All that sets depend on beside the rows: the settings and the seed, or the file's content.

    Raises:
        UserError: the file is missing.
    """
    if section.file is None:
        return section.model_dump(exclude={"file"}) | {"seed": seed}
    if not section.file.is_file():
        raise UserError(
            f"eval.candidates.file: expected {EXPECTED}, found no file {section.file}; correct "
            "the path"
        )
    return {"file": hash_file(section.file)}


def check_file(section: CandidatesSection) -> None:
    """Refuse a file that lacks a column.

    Raises:
        UserError: it does, or it is no Parquet.
    """
    if section.file is not None:
        try:
            found = pq.read_schema(section.file).names
        except (OSError, ValueError) as error:
            raise UserError(f"{section.file}: expected {EXPECTED}, but: {error}") from None
        if not {"row", "item_id"} <= set(found):
            raise UserError(
                f"{section.file}: expected {EXPECTED}, found the columns {', '.join(found)}"
            )


def make_sets(
    section: CandidatesSection,
    rows: SplitRows,
    items: Items,
    popularity: NDArray[np.int64],
    seed: int,
) -> CandidateSets:
    """The sets of a split's rows: drawn, or read.

    Args:
        popularity: (items,) training interactions, which `sampling: popularity` draws by.
        seed: with a row's number in the log it decides its set, whatever the other rows are.

    Raises:
        UserError: the file does not give each row its items.
    """
    if section.file is not None:
        return _read(section.file, rows, items)
    sets = _draw(section, rows, popularity, seed)
    short = np.count_nonzero(sets.lengths <= (section.negatives or 0))
    return CandidateSets(sets, {"short_sets": int(short)})


def _draw(
    section: CandidatesSection, rows: SplitRows, popularity: NDArray[np.int64], seed: int
) -> Spans:
    """The target and its negatives, fewer where the catalogue has not as many to draw."""
    wanted = section.negatives or 0
    cumulative = np.cumsum(popularity)
    sets: list[NDArray[np.int64]] = []
    for number, target, history in zip(rows.row, rows.target, rows.histories, strict=True):
        rng = np.random.default_rng([seed, int(number)])
        kept_out = np.union1d(history if section.exclude_history else [], [target]).astype(int)
        if section.sampling == "uniform":
            negatives = _draw_uniform(rng, len(popularity), kept_out, wanted)
        else:
            negatives = _draw_by_popularity(rng, popularity, cumulative, kept_out, wanted)
        sets.append(np.sort(np.append(negatives, target)))
    ends = np.cumsum([len(items) for items in sets], dtype=np.int64)
    flat = np.concatenate([*sets, np.empty(0, dtype=np.int64)]).astype(np.int32)
    return Spans(flat, np.concatenate([[0], ends[:-1]])[: len(sets)], ends)


def _draw_uniform(
    rng: np.random.Generator, items: int, kept_out: NDArray[np.int64], wanted: int
) -> NDArray[np.int64]:
    """Distinct items out of all but those kept out (ascending), each as likely as the others."""
    eligible = items - len(kept_out)
    drawn = rng.choice(eligible, size=min(wanted, eligible), replace=False, shuffle=False)
    # The n-th eligible item is n plus the number of those kept out before it.
    return drawn + np.searchsorted(kept_out - np.arange(len(kept_out)), drawn, side="right")


def _draw_by_popularity(
    rng: np.random.Generator,
    popularity: NDArray[np.int64],
    cumulative: NDArray[np.int64],
    kept_out: NDArray[np.int64],
    wanted: int,
) -> NDArray[np.int64]:
    """Distinct items drawn one after another, each in proportion to its training interactions.

    First with replacement, leaving out what is kept out or was drawn before. Where that does not
    suffice, the rest comes by the least exponential variables of these rates, which is the same
    (Efraimidis & Spirakis, "Weighted random sampling with a reservoir", 2006). Items without
    training interactions are never drawn.
    """
    draws = rng.integers(max(cumulative[-1], 1), size=_DRAWS * wanted)
    drawn = np.searchsorted(cumulative, draws, side="right")
    drawn = drawn[~np.isin(drawn, kept_out) & (drawn < len(popularity))]
    first = np.sort(np.unique(drawn, return_index=True)[1])
    drawn = drawn[first][:wanted]
    if len(drawn) == wanted:
        return drawn
    left = popularity.copy()
    left[kept_out] = left[drawn] = 0
    items = np.flatnonzero(left)
    waiting = rng.exponential(size=len(items)) / left[items]
    return np.append(drawn, items[np.argsort(waiting)[: wanted - len(drawn)]])


def _read(file: Path, rows: SplitRows, items: Items) -> CandidateSets:
    """The sets that a file gives; rows of other splits in it are left out, and counted.

    Raises:
        UserError: a column is missing, an item is not in the catalogue, or a row has no set.
    """
    given, ids = _columns(file)
    asked = np.isin(given, rows.row)
    item = np.array(items.index_of(ids.filter(pa.array(asked)).to_pylist()), dtype=np.int64)
    order = np.argsort(rows.row, kind="stable")
    place = order[np.searchsorted(rows.row, given[asked], sorter=order)]
    pairs = np.unique(place * len(items) + item)
    lengths = np.bincount(pairs // len(items), minlength=len(rows))
    if not lengths.all():
        missing = rows.row[lengths == 0]
        raise UserError(
            f"{file}: expected candidates for each of the {len(rows):,} rows, found none for "
            f"{len(missing):,}, such as row {missing[0]}; give each row its items"
        )
    ends = np.cumsum(lengths)
    sets = Spans((pairs % len(items)).astype(np.int32), ends - lengths, ends)
    with_target = np.isin(np.arange(len(rows)) * len(items) + rows.target, pairs)
    counts = {
        "sets_without_target": int(np.count_nonzero(~with_target)),
        "repeated_candidates": int(np.count_nonzero(asked)) - len(pairs),
        "candidates_of_other_rows": int(np.count_nonzero(~asked)),
    }
    return CandidateSets(sets, counts)


def _columns(file: Path) -> tuple[NDArray[np.int64], pa.ChunkedArray]:
    """The columns row and item_id."""
    try:
        table = pq.read_table(file, columns=["row", "item_id"])
        row = table["row"].cast(pa.int64()).to_numpy()
        return row.astype(np.int64), table["item_id"].cast(pa.string())
    except (OSError, KeyError, ValueError, NotImplementedError) as error:
        raise UserError(f"{file}: expected {EXPECTED}, but: {error}") from None
