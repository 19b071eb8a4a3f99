"""MiniOneRec's own data (Kong et al., 2025, arXiv:2510.24431): ready-made rows with given SIDs."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from recllm.data_prep.sources import Source
from recllm.data_prep.sources._log import clean_ids, write_log
from recllm.data_prep.sources._peer_files import (
    catalogue,
    count_sids,
    folder_of,
    item_table,
    listed,
    read_index,
    read_item_texts,
    read_own_ids,
    read_text,
    require_own_ids,
)
from recllm.data_prep.sources._reading import column_names, load
from recllm.data_prep.sources._rejects import refuse
from recllm.data_prep.sources.chains import SPLITS, in_sequences, item_ids
from recllm.data_prep.tables import Connection, Table, collect, materialise, scalars
from recllm.errors import UserError

log = logging.getLogger(__name__)

#: The roles that a file's name says by its ending.
ENDINGS = ("index", "item", "item2id")
BLANKS = r"^\s+|\s+\z"
COLUMNS = ("user_id", "history_item_id", "item_id", "item_title", "item_sid")


class Minionerec(Source):
    """Goes with `split: given` and `k_core: 0`: the log is derived from the rows, as in `chains`.

    Reads `train`, `valid` and `test` CSV files, the items' `.index.json` and `.item.json`, the
    `info` text and, where there is one, the `.item2id` with the items' own ids; plain or gzipped,
    in one folder (`NAME.valid.csv`, `NAME.info.txt`, …) or in MiniOneRec's tree of them
    (`valid/NAME.csv`, `info/NAME.txt`, …). The items' column `sid` holds the given SIDs, which
    several items may share.
    """

    path: Path = Field(description="a folder with MiniOneRec's files")
    category: str | None = Field(
        default=None, description="how the files' names begin, where the folder holds several"
    )

    def input_files(self) -> list[Path]:
        """The files that were found, by their role."""
        return list(self._files().values())

    def ingest(self, con: Connection, out: Path) -> dict[str, int]:
        """Read rows and items, and write the rows as sequences.

        Counts splits without a file (`missing_splits`), items by their SIDs (`items_with_sid`,
        `items_without_sid`, `items_sharing_a_sid`) and what does not agree with the items' files:
        `targets_with_another_title`, `targets_with_another_sid`, `items_with_another_info`.
        """
        import ibis

        files = self._files()
        info = _read_info(files["info"]) if "info" in files else {}
        texts = {item: {"title": title} for item, (_, title) in info.items()}
        texts = read_item_texts(files["item"]) if "item" in files else texts
        index = {item: sid for item, (sid, _) in info.items()}
        index = read_index(files["index"]) if "index" in files else index
        known = catalogue(texts, index)
        items = materialise(con, ibis.memtable(item_table(known)))
        missing = [name for name in SPLITS if name not in files]
        if missing:
            log.warning("%s: no file for %s", self.path, " and ".join(missing))
        read = {name: _rows(con, files[name]) for name in SPLITS if name in files}
        interactions, counts = in_sequences(con, read)
        counts |= {"missing_splits": len(missing)} | count_sids(known)
        counts |= _count_disagreeing(list(read.values()), items)
        counts["items_with_another_info"] = sum(
            item not in known
            or (sid, _in_one_line(title))
            != (known[item]["sid"], _in_one_line(known[item]["title"]))
            for item, (sid, title) in info.items()
        )
        if "item2id" in files:
            own = read_own_ids(files["item2id"])
            used = collect(interactions.select("item_id").distinct())
            require_own_ids(files["item2id"], own, {*known, *(row["item_id"] for row in used)})
            interactions, items = _with_own_ids(con, own, interactions, items)
        return counts | write_log(con, interactions, items, out, self.missing_items)

    def _files(self) -> dict[str, Path]:
        """The file of each role: the splits, index, item, info and item2id.

        Raises:
            UserError: there are several of one role, no rows, or nothing that describes the items.
        """
        folder = folder_of(self.path, "MiniOneRec")
        found: dict[str, list[Path]] = defaultdict(list)
        for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
            role = _role(path)
            if role and path.is_file() and path.name.startswith(self.category or ""):
                found[role].append(path)
        for role, paths in found.items():
            if len(paths) > 1:
                names = ", ".join(str(path.relative_to(folder)) for path in paths)
                raise UserError(
                    f"{folder}: expected one {role} file, found {names}; set data.category to "
                    "how the names of those begin that are meant"
                )
        files = {role: found[role][0] for role in (*SPLITS, *ENDINGS, "info") if role in found}
        which = f" that begin with {self.category!r}" if self.category else ""
        if not any(name in files for name in SPLITS):
            raise UserError(
                f"{folder}: expected MiniOneRec's files{which}, such as NAME.test.csv or "
                f"test/NAME.csv, found {listed(folder)}"
            )
        if not {"info", *ENDINGS[:2]} & set(files):
            raise UserError(
                f"{folder}: expected NAME.index.json and NAME.item.json, or info/NAME.txt, beside "
                f"the rows{which}, found {listed(folder)}"
            )
        return files


def _role(path: Path) -> str | None:
    """What a file is, by its name and that of its folder."""
    name, folder = path.name.removesuffix(".gz"), path.parent.name
    if name.endswith(".csv"):
        own = name.removesuffix(".csv").rpartition(".")[2]
        return next((split for split in SPLITS if split in (own, folder)), None)
    if name.endswith(".txt"):
        return "info" if folder == "info" or name.endswith("info.txt") else None
    ending = name.removesuffix(".json").rpartition(".")[2]
    return ending if ending in ENDINGS else None


def _rows(con: Connection, path: Path) -> Table:
    """A file's rows: line, user_id, items (the history), target, and the target's title and sid."""
    found = column_names(con, path)
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise UserError(
            f"{path}: expected the columns {', '.join(COLUMNS)}, found {', '.join(found)}; "
            "rename them, or read the file with data.source: chains"
        )
    table = load(con, path, {name: name for name in COLUMNS})
    user_id, target = clean_ids(table, "user_id"), clean_ids(table, "item_id")
    items = item_ids(table.history_item_id)
    refuse(
        path,
        table,
        {
            "user_id": user_id.isnull(),
            "history_item_id": items.isnull(),
            "item_id": target.isnull(),
        },
    )
    return table.select(
        line=table.row,
        user_id=user_id,
        items=items,
        target=target,
        title=table.item_title,
        sid=table.item_sid,
    )


def _count_disagreeing(read: list[Table], items: Table) -> dict[str, int]:
    """How many rows say another title or SID of their target than the items' files do."""
    import ibis

    rows: Table = ibis.union(*(table.select("target", "title", "sid") for table in read))
    known = items.select("item_id", said=items.title, given=items.sid)
    both = rows.join(known, rows.target == known.item_id)
    sums = {
        "targets_with_another_title": (both.title.re_replace(BLANKS, "") != both.said).sum(),
        "targets_with_another_sid": (both.sid != both.given).sum(),
    }
    return {name: int(n or 0) for name, n in scalars(both.aggregate(**sums)).items()}


def _with_own_ids(
    con: Connection, own: Mapping[str, str], interactions: Table, items: Table
) -> tuple[Table, Table]:
    """Both tables with the items' own ids in place of their numbers."""
    import ibis

    numbers = {"number": list(own), "own": list(own.values())}
    names = materialise(con, ibis.memtable(numbers))
    renamed = [
        table.join(names, table.item_id == names.number)
        .mutate(item_id=names.own)
        .select(table.columns)
        for table in (interactions, items)
    ]
    return materialise(con, renamed[0].order_by("row")), materialise(con, renamed[1])


def _read_info(path: Path) -> dict[str, tuple[str, str]]:
    """SID and title of each item of an info text: SID, tab, title, tab, number on each line."""
    items: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(read_text(path).rstrip("\r\n").split("\n"), start=1):
        sid, _, rest = line.partition("\t")
        title, tab, item = rest.rstrip("\r").rpartition("\t")
        if not (sid and tab and item):
            raise UserError(
                f"{path}: expected a SID, a title and an item id with tabs between in line "
                f"{number}, found {line[:80]!r}; mend it, or remove the file where there are an "
                "index.json and an item.json"
            )
        if item in items:
            raise UserError(f"{path}: the item {item!r} stands twice; keep one of its lines")
        items[item] = (sid, title)
    return items


def _in_one_line(title: str | None) -> str:
    return " ".join((title or "").split())
