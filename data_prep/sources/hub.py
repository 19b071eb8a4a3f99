"""A dataset of the Hugging Face Hub, or a local folder of one, through the library `datasets`."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from recllm.config.model_section import HUB_ID
from recllm.config.registry import unknown_name
from recllm.data_prep.sources import Source
from recllm.data_prep.sources._log import TEXT_COLUMNS, choose, require
from recllm.data_prep.sources._reading import existing
from recllm.data_prep.sources.files import USUAL, Files, _Columns
from recllm.data_prep.tables import Connection
from recllm.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

#: Rows that are copied at once: bounds the memory.
BATCH_ROWS = 2**16
#: The splits that a part's name may mean.
MEANINGS = {
    "train": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}
#: What makes a folder one that `datasets` saved.
SAVED = ("dataset_dict.json", "state.json")


class Hub(Source):
    """Goes by a Hub id (`dataset`) or a folder (`path`); columns are named as in `files`.

    A folder is one that `save_to_disk` made, or one of Parquet, JSON or CSV files that
    `load_dataset` reads. Code that a dataset brings is never run. Where several of its splits are
    read (`parts`), and all are called train, validation or test, these names are the column
    `split` of the log, for `split: given`. Values are as `datasets` reads them: of the ids in a
    CSV file it makes numbers, where it can (007 is 7); the source `files` does not.
    """

    dataset: str | None = Field(default=None, description="a Hub id such as user/name")
    path: Path | None = Field(default=None, description="a folder in its place")
    revision: str | None = Field(
        default=None, description="of the Hub's repository; a commit brings the same data again"
    )
    subset: str | None = Field(default=None, description="its configuration, if it has several")
    parts: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="the splits that are the log; default: all"
    )
    items_subset: str | None = Field(default=None, description="the configuration of the items")
    items_part: str | None = Field(default=None, description="the split of the items")
    columns: _Columns = _Columns()

    @model_validator(mode="after")
    def _one_place(self) -> "Hub":
        if (self.dataset is None) == (self.path is None):
            raise ValueError("give exactly one of 'dataset' (a Hub id) and 'path' (a folder)")
        if self.dataset is not None and not HUB_ID.match(self.dataset):
            raise ValueError(f"expected 'dataset' to be a Hub id, found {self.dataset!r}")
        if self.path is not None and self.revision is not None:
            raise ValueError("'revision' is one of a Hub's repository; a folder has none")
        return self

    def input_files(self) -> list[Path]:
        """The files of the folder, but for hidden ones and caches; none of a Hub's dataset."""
        if self.path is None:
            return []
        if not existing(self.path).is_dir():
            raise UserError(
                f"{self.path}: expected a folder with a dataset, found a file; "
                "data.source: files reads one"
            )
        found = (path.relative_to(self.path) for path in self.path.rglob("*"))
        return sorted(
            self.path / path
            for path in found
            if not any(part.startswith((".", "cache-")) for part in path.parts)
            and (self.path / path).is_file()
        )

    def ingest(self, con: Connection, out: Path) -> dict[str, int]:
        """Copy the columns that count to Parquet and read them as `files` does."""
        self.input_files()
        with tempfile.TemporaryDirectory(prefix=".datasets-", dir=out) as scratch:
            folder = Path(scratch)
            log, items = folder / "interactions.parquet", folder / "items.parquet"
            with _named({log: self._label(), items: f"{self._label()} (items)"}):
                found = self._open(self.subset, folder)
                parts = self._log_parts(found)
                _copy(parts, self._log_columns(parts), log)
                if self.items_subset or self.items_part:
                    described = self._item_parts(found, folder)
                    _copy(described, self._item_columns(described), items)
                source = Files(
                    path=log, items=items if items.exists() else None, columns=self.columns
                )
                return source.ingest(con, out)

    def _label(self) -> str:
        return self.dataset or str(self.path)

    def _open(self, subset: str | None, scratch: Path) -> dict[str, "Dataset"]:
        """The dataset's splits by name.

        Raises:
            UserError: it cannot be had.
        """
        import datasets
        from datasets.exceptions import DatasetsError

        try:
            if self.path is None:
                opened: Any = datasets.load_dataset(
                    str(self.dataset), subset, revision=self.revision
                )
            elif any((self.path / name).is_file() for name in SAVED):
                if subset is not None:
                    raise UserError(
                        f"{self.path}: a folder of save_to_disk has no configurations; "
                        f"drop {subset!r}"
                    )
                opened = datasets.load_from_disk(str(self.path))
            else:
                opened = datasets.load_dataset(str(self.path), subset, cache_dir=str(scratch))
        except (OSError, ValueError, RuntimeError, ImportError, DatasetsError) as error:
            if _is_of_the_disk(error):
                raise
            advice = (
                "check data.dataset, data.subset and the network, or give data.path, a folder "
                "with a copy"
                if self.path is None
                else "see that load_dataset or load_from_disk reads it"
            )
            reason = _in_short(error.__cause__ or error)
            raise UserError(
                f"{self._label()}: the dataset cannot be loaded: {reason}; {advice}"
            ) from None
        several = isinstance(opened, datasets.DatasetDict)
        return {str(name): opened[name] for name in opened} if several else {"train": opened}

    def _log_parts(self, found: Mapping[str, "Dataset"]) -> dict[str, "Dataset"]:
        own = [name for name in found if self.items_subset or name != self.items_part]
        return {name: self._part(found, name, "parts") for name in self.parts or own}

    def _item_parts(self, found: Mapping[str, "Dataset"], scratch: Path) -> dict[str, "Dataset"]:
        """The items' split; that of the log's configuration, where the items have none."""
        if self.items_subset:
            found = self._open(self.items_subset, scratch)
        name = self.items_part or next(iter(found))
        if self.items_part is None and len(found) > 1:
            raise UserError(
                f"{self._label()}: {self.items_subset!r} has the splits {', '.join(found)}; say "
                "which holds the items with data.items_part"
            )
        return {name: self._part(found, name, "items_part")}

    def _part(self, found: Mapping[str, "Dataset"], name: str, option: str) -> "Dataset":
        if name not in found:
            raise UserError(f"{self._label()}: data.{option}: {unknown_name('split', name, found)}")
        return found[name]

    def _log_columns(self, parts: Mapping[str, "Dataset"]) -> dict[str, list[str]]:
        asked = self.columns.model_dump()
        wanted = {role: (asked.get(role), usual) for role, usual in USUAL.items()}
        return {name: self._chosen(part, wanted, ("user", "item")) for name, part in parts.items()}

    def _item_columns(self, parts: Mapping[str, "Dataset"]) -> dict[str, list[str]]:
        asked = self.columns.model_dump()
        ids = [name for name in ("item_id", asked["item"], "item") if name]
        wanted: dict[str, tuple[str | None, tuple[str, ...]]] = {
            role: (asked.get(role), (role,)) for role in ("title", *TEXT_COLUMNS)
        }
        wanted["item_id"] = (asked["item_id"], tuple(ids))
        return {name: self._chosen(part, wanted, ("item_id",)) for name, part in parts.items()}

    def _chosen(
        self,
        part: "Dataset",
        wanted: Mapping[str, tuple[str | None, tuple[str, ...]]],
        required: tuple[str, ...],
    ) -> list[str]:
        """The columns of a part that are read, in the part's order."""
        label, found = Path(self._label()), part.column_names
        chosen = {
            (require if role in required else choose)(label, found, role, asked, usual)
            for role, (asked, usual) in wanted.items()
        }
        return [name for name in found if name in chosen]


def _copy(parts: Mapping[str, "Dataset"], columns: Mapping[str, list[str]], target: Path) -> None:
    """Write columns of some parts to one Parquet file, batch by batch.

    Several parts whose names are those of splits get them as a column `split`, if there is none.
    """
    told = len(parts) > 1 and all(name in MEANINGS for name in parts)
    schema: pa.Schema | None = None
    writer: pq.ParquetWriter | None = None
    try:
        for name, part in parts.items():
            chosen = part.select_columns(columns[name]).with_format("arrow")
            for batch in chosen.iter(BATCH_ROWS):
                table: pa.Table = batch  # type: ignore[assignment]
                if told and "split" not in table.column_names:
                    label = pa.repeat(pa.scalar(MEANINGS[name]), table.num_rows)
                    table = table.append_column("split", label)
                if writer is None:
                    schema = table.schema.remove_metadata()
                    writer = pq.ParquetWriter(target, schema)
                writer.write_table(_as_the_first(table, schema, name))
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise UserError(f"{target}: the dataset holds no rows")


def _as_the_first(table: pa.Table, schema: pa.Schema | None, part: str) -> pa.Table:
    """A part's table with the columns of the first part."""
    assert schema is not None
    if set(table.column_names) != set(schema.names):
        raise UserError(
            f"expected the same columns in every split, found {', '.join(table.column_names)} in "
            f"{part!r} and {', '.join(schema.names)} before; choose with data.parts"
        )
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(
            f"expected the same types in every split, but in {part!r}: {_in_short(error)}"
        ) from None


@contextmanager
def _named(labels: Mapping[Path, str]) -> Iterator[None]:
    """Says in messages what the copies were made of."""
    try:
        yield
    except UserError as error:
        message = str(error)
        for path, label in labels.items():
            message = message.replace(str(path), label)
        raise UserError(message) from None


def _is_of_the_disk(error: BaseException | None) -> bool:
    """Whether the system refused a file: no mistake of the recipe."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return not isinstance(error, FileNotFoundError | ConnectionError)
        error = error.__cause__
    return False


def _in_short(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0] or type(error).__name__
    return first if len(first) <= 300 else f"{first[:297]}..."
