"""SIDs that another project made: MiniOneRec's and LC-Rec's."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.catalog.items import Items
from recllm.catalog.sids import MOST_LEVELS, SidIndex, sid_token
from recllm.catalog.trie_building import ENDED
from recllm.data_prep.quantizers import Indexer, Indexing, IndexingInput, Quantized, resolve
from recllm.data_prep.quantizers._numbers import code_sizes
from recllm.data_prep.sources._peer_files import TOKEN, read_index, read_own_ids, require_own_ids
from recllm.data_prep.sources._reading import existing
from recllm.errors import UserError

CODE = re.compile(r"<([a-z])_(0|[1-9][0-9]*)>")
#: A vocabulary gains a token for each code up to the highest.
HIGHEST_CODE = 2**20


class Import(Indexer):
    """SIDs as given: those of an `.index.json`, or those that came with the log.

    An index names items by their ids; where a `.item2id` of the same name lies beside it, by the
    numbers that this gives them. Levels and codes are those of the SIDs: `sid.levels` and
    `sid.codes` do not apply. Other projects' SIDs may be shared by several items. Then
    `on_collision` says what to do:

    - `error`: stop.
    - `keep`: leave them. The items of a SID are recommended together, in catalogue order.
    - `resolve`: give every item its own, as for a quantizer's (`recllm.catalog.resolution`). Of
      codes without codebooks the embeddings tell what they mean: level by level, a code is the
      mean of what the levels before leave over of its items' vectors. Needs SIDs of one length.
    """

    path: Path | None = Field(
        default=None, description="NAME.index.json; default: the SIDs that came with the log"
    )
    on_collision: Literal["keep", "resolve", "error"] = "error"

    @property
    def uses_vectors(self) -> bool:
        """Whether collisions are resolved."""
        return self.on_collision == "resolve"

    def input_files(self) -> list[Path]:
        """The index, and the numbers of its items where there are some."""
        if self.path is None:
            return []
        if not existing(self.path).is_file():
            raise UserError(f"sid.path: expected an .index.json, found the folder {self.path}")
        numbers = self._numbers_file()
        return [self.path, *([] if numbers is None else [numbers])]

    def index(self, given: IndexingInput) -> Indexing:
        """See the base class; counts `items_sharing_a_sid` that are left, and `sids_of_no_item`.

        Raises:
            UserError: an item has no SID, one is not made of codes, or SIDs collide and that is
                not allowed for.
        """
        known = self._given(given.items) if self.path is None else self._read(self.path)
        codes = parse_sids(self._sids(given.items, known), given.items.ids)
        sid, holders = np.unique(codes, axis=0, return_inverse=True, return_counts=True)[1:]
        sharing = np.flatnonzero(holders[sid.reshape(-1)] > 1)
        if len(sharing) and self.on_collision == "error":
            raise UserError(
                f"sid.quantizer: import: {len(sharing)} items share their SID with another, such "
                f"as {given.items.ids[sharing[0]]!r}; set sid.on_collision to keep (they are "
                "recommended together) or resolve (each gets its own)"
            )
        if len(sharing) and self.on_collision == "resolve":
            return _resolve(codes, given)
        index = SidIndex(given.items.ids, codes, code_sizes(codes))
        of_no_item = len(known.keys() - set(given.items.ids))
        counts = {"items_sharing_a_sid": len(sharing), "sids_of_no_item": of_no_item}
        return Indexing(index, codes, counts=counts)

    def _sids(self, items: Items, known: Mapping[str, str | None]) -> list[str]:
        """The SID of each item as text."""
        missing = [item_id for item_id in items.ids if known.get(item_id) is None]
        if missing:
            raise UserError(
                f"sid.quantizer: import: expected a SID for each of {len(items)} items, but "
                f"{len(missing)} have none, such as {missing[0]!r}; add them"
                + ("" if self.path is None else f" to {self.path}")
                + ", or choose another sid.quantizer; where the items file lacks them too, set "
                "data.missing_items: drop, and test rows that ask for them count as misses"
            )
        return [known[item_id] or "" for item_id in items.ids]

    def _given(self, items: Items) -> dict[str, str | None]:
        if "sid" not in items.columns:
            raise UserError(
                "sid.quantizer: import: the log brought no SIDs; set sid.path to an .index.json"
            )
        return dict(zip(items.ids, items.table["sid"].to_pylist(), strict=True))

    def _read(self, path: Path) -> dict[str, str]:
        index, numbers = read_index(path), self._numbers_file()
        if numbers is None:
            return index
        own = read_own_ids(numbers)
        require_own_ids(numbers, own, index)
        return {own[number]: sid for number, sid in index.items()}

    def _numbers_file(self) -> Path | None:
        """The `.item2id` beside the index."""
        if self.path is None:
            return None
        stem = self.path.name.removesuffix(".gz").removesuffix(".json").removesuffix(".index")
        beside = [self.path.with_name(f"{stem}.item2id{ending}") for ending in ("", ".gz")]
        return next((path for path in beside if path.is_file()), None)


def parse_sids(sids: Sequence[str], item_ids: Sequence[str]) -> NDArray[np.int32]:
    """(items, levels) the codes of SIDs such as <a_12><b_200>; `ENDED` after a shorter one's end.

    Raises:
        UserError: a SID is not made of such tokens, level after level.
    """
    parsed: list[list[int]] = []
    for item_id, sid in zip(item_ids, sids, strict=True):
        codes = _codes_of(sid)
        if codes is None:
            raise UserError(
                f"sid.quantizer: import: expected SIDs such as <a_12><b_200><c_7>, a letter for "
                f"each level and a number below {HIGHEST_CODE:,}, found {sid[:80]!r} of item "
                f"{item_id!r}"
            )
        parsed.append(codes)
    found = np.full((len(sids), max(map(len, parsed))), ENDED, dtype=np.int32)
    for row, codes in zip(found, parsed, strict=True):
        row[: len(codes)] = codes
    return found


def _codes_of(sid: str) -> list[int] | None:
    """The codes of a SID; None where it is not made of the levels' tokens alone."""
    tokens = TOKEN.findall(sid)[:MOST_LEVELS]
    matches = [CODE.fullmatch(token) for token in tokens]
    codes = [int(match[2]) for match in matches if match is not None]
    written = "".join(sid_token(level, code) for level, code in enumerate(codes))
    return codes if codes and written == sid and max(codes) < HIGHEST_CODE else None


def _resolve(codes: NDArray[np.int32], given: IndexingInput) -> Indexing:
    """Every item its own SID; K is the largest number of codes of a level, at every level."""
    if (codes == ENDED).any():
        raise UserError(
            "sid.on_collision: resolve needs SIDs of one length, but those given differ; "
            "set it to keep"
        )
    codebooks = mean_codebooks(codes, given.vectors, max(code_sizes(codes)))
    return resolve(Quantized(codes, codebooks), given)


def mean_codebooks(
    codes: NDArray[np.int32], vectors: NDArray[np.float32], codes_per_level: int
) -> NDArray[np.float32]:
    """What codes mean: (levels, codes_per_level, dimensions), zero for a code that no item has.

    Each row is the mean, over the items with that code, of what the levels before leave over of
    their vectors.

    Args:
        codes: (items, levels).
        vectors: (items, dimensions).
    """
    from scipy.sparse import csr_array

    items, levels = codes.shape
    left = vectors.astype(np.float32, copy=True)
    codebooks = np.zeros((levels, codes_per_level, vectors.shape[1]), dtype=np.float32)
    for level in range(levels):
        shape = (items, codes_per_level)
        has = csr_array((np.ones(items, np.float32), codes[:, level], np.arange(items + 1)), shape)
        counts = np.bincount(codes[:, level], minlength=codes_per_level)
        codebooks[level] = (has.T @ left) / np.maximum(counts, 1)[:, None]
        left -= codebooks[level, codes[:, level]]
    return codebooks
