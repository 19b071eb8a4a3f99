"""Ready-made (history, target) rows in train, valid and test files, as papers publish them."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from recllm.catalog.split_names import SPLITS
from recllm.data_prep.sources import Source
from recllm.data_prep.sources._log import (
    choose,
    clean_ids,
    item_columns,
    read_items,
    require,
    write_log,
)
from recllm.data_prep.sources._reading import (
    column_names,
    existing,
    find_table,
    load,
    require_table,
)
from recllm.data_prep.sources._rejects import refuse
from recllm.data_prep.tables import Column, Connection, Table, materialise, number, scalars
from recllm.data_prep.values import is_json, parse_list, stripped
from recllm.errors import UserError


class _Columns(BaseModel):
    """The user's names for the columns of the three files and of the items."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str | None = Field(default=None, description="a user or a chain; may be missing")
    history: str | None = Field(default=None, description="item ids: spaces between, or a list")
    target: str | None = None
    item_id: str | None = Field(default=None, description="in the items file")
    title: str | None = None
    description: str | None = None
    categories: str | None = None
    brand: str | None = None


class Chains(Source):
    """Goes with `split: given` and `k_core: 0`: the log is derived from the rows.

    A row whose history is the end of the one before it (of the same user and file) and its
    target continues that row's sequence; any other row starts a new one. Besides the usual
    columns the log has `split`, `sequence` and `history`, which the split `given` reads.
    """

    path: Path = Field(description="a folder with train.*, valid.*, test.* and perhaps items.*")
    columns: _Columns = _Columns()

    def input_files(self) -> list[Path]:
        """The three splits, then the items where there are some."""
        if not existing(self.path).is_dir():
            raise UserError(f"{self.path}: expected a folder with train.*, valid.* and test.*")
        items = find_table(self.path, "items")
        files = [require_table(self.path, name) for name in SPLITS]
        return files if items is None else [*files, items]

    def ingest(self, con: Connection, out: Path) -> dict[str, int]:
        """Read the rows, put them into sequences and write these as a log."""
        files = self.input_files()
        rows = {name: self._rows(con, path) for name, path in zip(SPLITS, files[:3], strict=True)}
        log, counts = in_sequences(con, rows)
        items = None
        if len(files) > 3:
            chosen = item_columns(con, files[3], self.columns.model_dump(), ("item_id", "item"))
            items = read_items(con, files[3], chosen)
        return counts | write_log(con, log, items, out, self.missing_items)

    @staticmethod
    def places(con: Connection, rows: Table, split: str) -> Table:
        """One row for each place of each sequence of a split.

        Columns: user_id, first (the sequence's first line), line, offset, item_id, history,
        split, is_target, starts.
        """
        import ibis

        table = materialise(con, rows)
        before = ibis.window(group_by=table.user_id, order_by=table.line)
        last_target = ibis.array([table.target.lag().over(before)])
        longer = table["items"].lag().over(before).concat(last_target)
        end = longer[longer.length() - table["items"].length() :]
        continues = (table["items"].length() > 0) & (table["items"].length() <= longer.length())
        continues = (continues & (end == table["items"])).fill_null(False)
        table = materialise(con, table.mutate(continues=continues))
        target = ibis.array([table.target])
        places: Column = ibis.ifelse(table.continues, target, table["items"].concat(target))
        starts: Column = ibis.ifelse(~table.continues, table.line, None)
        first = starts.max().over(group_by=table.user_id, order_by=table.line, rows=(None, 0))
        placed = table.mutate(first=first, item_id=places, last=places.length() - 1)
        placed = placed.unnest("item_id", offset="offset")
        is_target = placed.offset == placed["last"]
        return placed.select(
            "user_id",
            "first",
            "line",
            "offset",
            "item_id",
            history=ibis.ifelse(is_target, placed["items"].length(), 0).cast("int64"),
            split=ibis.ifelse(is_target | ibis.literal(split == "train"), split, None),
            is_target=is_target,
            starts=(placed.offset == 0) & ~placed.continues,
        )

    def _rows(self, con: Connection, path: Path) -> Table:
        """A file's rows: line, user_id, items (the history) and target."""
        found, asked = column_names(con, path), self.columns
        chosen = {
            "history": require(path, found, "history", asked.history, ("history",)),
            "target": require(path, found, "target", asked.target, ("target",)),
        }
        user = choose(path, found, "user", asked.user, ("user_id", "user", "chain_id"))
        if user:
            chosen["user_id"] = user
        table = load(con, path, chosen)
        target, items = clean_ids(table, "target"), item_ids(table.history)
        problems = {chosen["target"]: target.isnull(), chosen["history"]: items.isnull()}
        if user:
            user_id = clean_ids(table, "user_id")
            problems[user] = user_id.isnull()
            user_id = user_id if user != "chain_id" else "chain " + user_id
        else:
            user_id = "row " + (table.row + 1).cast("string")
        refuse(path, table, problems)
        return table.select(line=table.row, user_id=user_id, items=items, target=target)


def in_sequences(con: Connection, rows: Mapping[str, Table]) -> tuple[Table, dict[str, int]]:
    """The rows of some splits as a log, materialised, and its counts.

    Args:
        rows: by split: line int64 (the order), user_id, items (the history) and target.
    """
    import ibis

    parts = [
        Chains.places(con, table, name).mutate(part=ibis.literal(SPLITS.index(name)))
        for name, table in rows.items()
    ]
    placed = materialise(con, ibis.union(*parts))
    counts = scalars(
        placed.aggregate(
            sequences=placed.starts.sum(),
            targets_without_history=(placed.is_target & (placed.history == 0)).sum(),
        )
    )
    counts = {name: int(number or 0) for name, number in counts.items()}
    return materialise(con, as_log(con, placed)), {"order_only": 1} | counts


def item_ids(history: Column) -> Column:
    """Item ids with spaces between them, or as a list of JSON or Python; null where it is neither.

    Of Python's lists, those are understood whose strings hold no quotes and no backslashes.
    """
    import ibis

    text = stripped(history.fill_null(""))
    listed = text.startswith("[")
    single = listed & ~text.contains('"') & ~text.contains("\\")
    text: Column = ibis.ifelse(single, text.replace("'", '"'), text)
    valid = ~listed | is_json(text)
    parsed = parse_list(ibis.ifelse(listed & valid, text, "[]"))
    words = ibis.ifelse(text == "", ibis.literal([], type="array<string>"), text.re_split(r"\s+"))
    return ibis.ifelse(valid, ibis.ifelse(listed, parsed, words), None)


def as_log(con: Connection, placed: Table, *more: str) -> Table:
    """The places of all files as interactions, a sequence's place standing for its time.

    Args:
        placed: materialised; see `Chains.places`, with part int, the split's number.
        more: columns to keep besides those of a ready-made log.
    """
    import ibis

    key = ["part", "first", "user_id"]
    sequences = number(con, placed.select(*key).distinct(), "sequence", key)
    log = placed.join(materialise(con, sequences), key)
    log = number(con, log, "row", ["sequence", "line", "offset"])
    places = ibis.row_number().over(group_by=log.sequence, order_by=log.row)
    columns = ("row", "user_id", "item_id", "timestamp", "split", "sequence", "history", *more)
    return log.mutate(timestamp=places).select(*columns)
