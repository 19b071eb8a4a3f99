"""Amazon reviews: the releases of 2014 (McAuley), 2018 (Ni et al.) and 2023 (Hou et al.)."""

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from recllm.data_prep.sources import Source
from recllm.data_prep.sources._html_texts import clean_batches
from recllm.data_prep.sources._log import (
    TEXT_COLUMNS,
    load_items,
    read_interactions,
    require,
    write_log,
)
from recllm.data_prep.sources._python_literals import convert, holds_literals
from recllm.data_prep.sources._reading import column_names, existing, load, readable
from recllm.data_prep.sources._rejects import Rejects
from recllm.data_prep.tables import Connection, Table, materialise, read, scalars
from recllm.errors import UserError

#: The keys of the reviews in the releases, the newest first.
REVIEWS = {
    "user_id": ("user_id", "reviewerID"),
    "item_id": ("parent_asin", "asin"),
    "rating": ("rating", "overall"),
    "time": ("timestamp", "unixReviewTime"),
}
METADATA = {
    "item_id": ("parent_asin", "asin"),
    "title": ("title",),
    "description": ("description",),
    "categories": ("categories", "category"),
    "brand": ("brand", "store"),
}
MILLISECONDS = "timestamp"
SUFFIXES = (".json.gz", ".jsonl.gz", ".json", ".jsonl")


class Amazon(Source):
    """Reviews with times and ratings, products with titles, descriptions and categories.

    Of reviews by the same user of the same item at the same time the first is kept, and of
    several products with one asin too. Texts are made plain; titles that are a page's script
    are taken for missing.
    """

    path: Path | None = Field(default=None, description="a folder with both files")
    reviews: Path | None = Field(default=None, description="the file, in place of path")
    meta: Path | None = Field(default=None, description="the file; without it, ids are titles")

    @model_validator(mode="after")
    def _path_or_reviews(self) -> "Amazon":
        if (self.path is None) == (self.reviews is None):
            raise ValueError("give 'path', a folder, or 'reviews' and 'meta', two files")
        return self

    def input_files(self) -> list[Path]:
        """The reviews, then the metadata where there are some."""
        reviews, meta = self._files()
        return [reviews] if meta is None else [reviews, meta]

    def ingest(self, con: Connection, out: Path) -> dict[str, int]:
        """Read both files, leave out what stands twice, clean the texts."""
        reviews, meta = self._files()
        rejects = Rejects(self.max_reject_rate)
        chosen = _chosen(con, reviews, REVIEWS, ("user_id", "item_id", "time"))
        loaded = _load(con, reviews, chosen)
        milliseconds = chosen["time"] == MILLISECONDS
        if milliseconds:
            loaded = loaded.mutate(time=_in_seconds(loaded.time))
        log, counts = read_interactions(con, reviews, chosen, rejects, loaded)
        if milliseconds:
            counts["fractional_times"] = 0  # the release writes all times in milliseconds
        log, twice = _without_duplicates(con, log)
        items = None
        if meta is not None:
            chosen = _chosen(con, meta, METADATA, ("item_id",))
            items, found = _products(con, meta, chosen, rejects)
            twice |= found
        counts |= twice | write_log(con, log, items, out, self.missing_items)
        return counts | rejects.write(con, out)

    def _files(self) -> tuple[Path, Path | None]:
        if self.path is None:
            assert self.reviews is not None
            return existing(self.reviews), existing(self.meta) if self.meta else None
        folder = existing(self.path)
        if not folder.is_dir():
            raise UserError(f"{folder}: expected a folder with reviews and metadata; "
                            "name single files with data.reviews and data.meta")
        files = sorted(p for p in folder.iterdir() if p.name.lower().endswith(SUFFIXES))
        metas = [p for p in files if p.name.lower().startswith("meta")]
        reviews = [p for p in files if p not in metas]
        meta = existing(self.meta) if self.meta else _only(folder, "meta_*.json.gz", metas)
        found = _only(folder, "*.json.gz (reviews)", reviews)
        if found is None:
            listed = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
            raise UserError(f"{folder}: expected reviews, such as reviews_Beauty_5.json.gz, "
                            f"Beauty_5.json.gz or All_Beauty.jsonl.gz, found {listed}")
        return found, meta


def _only(folder: Path, kind: str, files: list[Path]) -> Path | None:
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise UserError(
            f"{folder}: expected one file {kind}, found {names}; name them with data.reviews and "
            "data.meta in place of data.path"
        )
    return files[0] if files else None


def _chosen(
    con: Connection, path: Path, keys: Mapping[str, tuple[str, ...]], needed: tuple[str, ...]
) -> dict[str, str]:
    """The file's own key for each role that it has."""
    if existing(path).is_file() and path.stat().st_size and holds_literals(path):
        return {role: own[-1] for role, own in _literal_keys(keys).items()}
    found = column_names(con, path)
    chosen = {role: require(path, found, role, None, keys[role]) for role in needed}
    for role, names in keys.items():
        own = next((name for name in names if name in found), None)
        if own:
            chosen[role] = own
    return chosen
