"""Precomputed vectors: those of a file, found by their items' ids."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from recllm.artifacts.manifest import hash_file
from recllm.catalog.items import Items
from recllm.data_prep.encoders import Encoded, Encoder, EncoderInput, State
from recllm.data_prep.encoders._keyed_vectors import read_keyed_vectors, require_file
from recllm.errors import UserError

FORMATS = (".npy", ".safetensors", ".parquet")
SHOWN = 5


class Precomputed(Encoder):
    """The vectors of a file, as they are, in the catalogue's order.

    A Parquet file has the columns item_id and vector; an npy file has a text file beside it with
    the item_id of each row, one a line (`ids`); a safetensors file has such a text file, or the
    ids as a JSON list under `item_ids` in its header. Vectors of other ids are passed over and
    counted. The vectors have the file's own width, whatever `embed.dimensions` says.
    """

    path: Path = Field(description="an npy, safetensors or Parquet file")
    ids: Path | None = Field(default=None, description="the item_id of each row, one a line")
    missing: Literal["error", "zero"] = Field(
        default="error", description="items that the file lacks; zero: the zero vector"
    )

    @field_validator("path")
    @classmethod
    def _format_is_known(cls, path: Path) -> Path:
        if path.suffix not in FORMATS:
            raise ValueError(f"expected a file that ends in {', '.join(FORMATS)}, found {path}")
        return path

    @model_validator(mode="after")
    def _ids_are_in_one_place(self) -> "Precomputed":
        if self.ids is not None and self.path.suffix == ".parquet":
            raise ValueError("ids: a Parquet file has a column item_id; leave ids out")
        return self

    def settings(self) -> dict[str, Any]:
        """What becomes of missing items, and the content of the files."""
        files = [[f.suffix, hash_file(require_file(f))] for f in (self.path, self.ids) if f]
        return {"missing": self.missing, "files": files}

    def check(self) -> None:
        """Refuse a file that is not of the form expected; reads its beginning."""
        next(read_keyed_vectors(self.path, self.ids), None)

    def encode(self, given: EncoderInput) -> Encoded:
        """One row for each item: (items, the file's width)."""
        return self._find(given.items)

    def encode_new(self, items: Items, state: State, cache: Path | None = None) -> Encoded:
        """Their vectors in the file, which may have grown since."""
        del state, cache
        return self._find(items)

    def _find(self, items: Items) -> Encoded:
        place = {item_id: item for item, item_id in enumerate(items.ids)}
        seen: set[str] = set()
        repeated: dict[str, None] = {}
        rows = 0
        vectors = np.zeros((len(items), 0), dtype=np.float32)
        for ids, batch in read_keyed_vectors(self.path, self.ids):
            if not vectors.shape[1]:
                vectors = np.zeros((len(items), batch.shape[1]), dtype=np.float32)
            repeated |= dict.fromkeys(_repeats(ids, seen))
            wanted = [row for row, item_id in enumerate(ids) if item_id in place]
            with np.errstate(over="ignore"):  # becomes infinity, which is refused below
                vectors[[place[ids[row]] for row in wanted]] = batch[wanted]
            rows += len(ids)
        if repeated:
            raise UserError(
                f"{self.path}: expected each item_id once, found {_some(repeated)} more than once"
            )
        missing = [item_id for item_id in items.ids if item_id not in seen]
        self._check(items, missing, vectors, seen)
        extra = rows - (len(items) - len(missing))
        return Encoded(vectors, counts={"extra_vectors": extra, "missing_vectors": len(missing)})

    def _check(self, items: Items, missing: list[str], vectors: Any, found: set[str]) -> None:
        if missing and len(missing) == len(items):
            raise UserError(
                f"{self.path}: has no vector of any of the {len(items)} items: its ids are "
                f"{_some(found)}, those of the items {_some(missing)}"
            )
        if missing and self.missing == "error":
            raise UserError(
                f"{self.path}: expected a vector for each of the {len(items)} items, found none "
                f"for {_some(missing)}; add them, or set missing: zero"
            )
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(broken):
            raise UserError(
                f"{self.path}: expected finite numbers, found NaN or infinity (in float32) for "
                f"{_some([items.ids[item] for item in broken])}"
            )


def _repeats(ids: list[str], seen: set[str]) -> Iterable[str]:
    """The ids that have been seen before, here or in `seen`, to which the ids are added."""
    for item_id in ids:
        if item_id in seen:
            yield item_id
        seen.add(item_id)


def _some(ids: Iterable[str]) -> str:
    """How many there are, and the first of them in the order of the alphabet."""
    ordered = sorted(ids)
    shown = ", ".join(map(repr, ordered[:SHOWN]))
    return f"{len(ordered)} ({shown}{', …' if len(ordered) > SHOWN else ''})"
