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
    is_json,
    joined,
    load_items,
    parse_list,
    read_interactions,
    require,
    write_log,
)
from recllm.data_prep.sources._python_literals import convert, holds_literals
from recllm.data_prep.sources._reading import column_names, existing, load, readable
from recllm.data_prep.sources._rejects import Rejects
from recllm.data_prep.tables import Column, Connection, Table, materialise, read, scalars, write
from recllm.errors import UserError

#: The keys in the releases, that of 2014 last.
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
    "categories": ("category", "categories"),
    "brand": ("store", "brand"),
}
MILLISECONDS = "timestamp"
BATCH_ITEMS = 2**14
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
            raise UserError(
                f"{folder}: expected a folder with reviews and metadata; "
                "name single files with data.reviews and data.meta"
            )
        files = sorted(p for p in folder.iterdir() if p.name.lower().endswith(SUFFIXES))
        metas = [p for p in files if p.name.lower().startswith("meta")]
        reviews = [p for p in files if p not in metas]
        meta = existing(self.meta) if self.meta else _only(folder, "meta_*.json.gz", metas)
        found = _only(folder, "*.json.gz (reviews)", reviews)
        if found is None:
            listed = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
            raise UserError(
                f"{folder}: expected reviews, such as reviews_Beauty_5.json.gz, "
                f"Beauty_5.json.gz or All_Beauty.jsonl.gz, found {listed}"
            )
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
    if _is_literal(path):
        return {role: names[-1] for role, names in keys.items()}
    found = column_names(con, path)
    chosen = {role: require(path, found, role, None, keys[role]) for role in needed}
    for role, names in keys.items():
        own = next((name for name in names if name in found), None)
        if own:
            chosen[role] = own
    return chosen


def _is_literal(path: Path) -> bool:
    whole = existing(path).is_file() and path.stat().st_size > 0
    with readable(path):
        return whole and path.suffix != ".parquet" and holds_literals(path)


def _load(con: Connection, path: Path, chosen: Mapping[str, str]) -> Table:
    """See `load`; of the release of 2014, lines that are Python literals too."""
    if not _is_literal(path):
        return load(con, path, chosen)
    with tempfile.TemporaryDirectory(prefix="recllm-amazon-") as folder, readable(path):
        converted = Path(folder) / "lines.parquet"
        convert(path, chosen, converted)
        return materialise(con, read(con, converted))


def _in_seconds(milliseconds: Column) -> Column:
    import ibis

    long = r"^(-?[0-9]+)[0-9]{3}(\.[0-9]*)?\z"
    seconds = milliseconds.re_extract(long, 1)
    return ibis.ifelse(milliseconds.re_search(long), seconds, milliseconds)


def _without_duplicates(con: Connection, log: Table) -> tuple[Table, dict[str, int]]:
    """The first review of each user, item and time.

    Counts `duplicate_reviews`, that are left out, and how many of them rate otherwise than one
    that is like them.
    """
    log = materialise(con, log)
    key = ["user_id", "item_id", "timestamp"]
    twice = log.group_by(key).having(log.count() > 1).aggregate(first=log.row.min())
    members = materialise(con, log.join(twice, key))
    left_out = members.filter(members.row != members["first"])
    counts = {
        "duplicate_reviews": scalars(left_out.aggregate(n=left_out.count()))["n"],
        "duplicates_rated_otherwise": 0,
    }
    if "rating" in log.columns:
        groups = members.select(*key, "rating").distinct()
        found = scalars(groups.aggregate(n=groups.count()))["n"]
        kept = scalars(members.aggregate(n=(members.row == members["first"]).sum()))["n"]
        counts["duplicates_rated_otherwise"] = found - int(kept or 0)
    if counts["duplicate_reviews"]:
        log = log.anti_join(left_out, "row")
    return log, counts


def _products(
    con: Connection, path: Path, chosen: Mapping[str, str], rejects: Rejects
) -> tuple[Table, dict[str, int]]:
    """The items, each once, in plain text."""
    loaded = _load(con, path, chosen)
    counts = {"list_descriptions": 0}
    if "description" in chosen:
        lists = loaded.description.startswith("[") & (loaded.description != "[]")
        lists = lists & is_json(loaded.description)
        counts["list_descriptions"] = int(scalars(loaded.aggregate(n=lists.sum()))["n"] or 0)
    if "categories" in chosen:
        loaded = loaded.mutate(categories=_flattened(loaded.categories))
    items = load_items(con, path, chosen, rejects, loaded)
    first = items.group_by("item_id").aggregate(row=items.row.min())
    found = scalars(items.aggregate(rows=items.count(), ids=items.item_id.nunique()))
    counts["items_repeated"] = found["rows"] - found["ids"]
    items = items.semi_join(first, "row").drop("row")
    with tempfile.TemporaryDirectory(prefix="recllm-amazon-") as folder:
        raw, cleaned = Path(folder) / "raw.parquet", Path(folder) / "items.parquet"
        write(con, items.order_by("item_id"), raw)
        counts |= _clean(raw, cleaned)
        return materialise(con, read(con, cleaned)), counts


def _flattened(categories: Column) -> Column:
    """The release of 2014 has several paths through the categories: A > B; A > C."""
    import ibis

    nested = categories.startswith("[[") & is_json(categories)
    paths = parse_list(ibis.ifelse(nested, categories, "[]"))
    told = paths.map(lambda path: joined(path, " > ", categories)).join("; ")
    return ibis.ifelse(nested, told, categories)


def _clean(raw: Path, target: Path) -> dict[str, int]:
    """Write the items of a Parquet file with their texts made plain."""
    counts = Counter(titles_broken=0, texts_with_tags=0, texts_with_entities=0)
    with pq.ParquetFile(raw) as file:
        schema = pa.schema([(name, pa.string()) for name in file.schema_arrow.names])
        columns = [name for name in schema.names if name in ("title", *TEXT_COLUMNS)]
        with pq.ParquetWriter(target, schema) as writer:
            for batch in clean_batches(file.iter_batches(BATCH_ITEMS), columns, counts):
                writer.write_batch(batch.cast(schema))
    return dict(counts)
