"""LC-Rec's own data (Zheng et al., 2024, arXiv:2311.09049): sequences of users, and given SIDs."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from recllm.data_prep.sources import Source
from recllm.data_prep.sources._log import write_log
from recllm.data_prep.sources._peer_files import (
    catalogue,
    count_sids,
    folder_of,
    item_table,
    listed,
    read_index,
    read_item_texts,
    read_object,
    read_own_ids,
    require_own_ids,
)
from recllm.data_prep.tables import Connection, materialise
from recllm.errors import UserError

SCHEMA = pa.schema(
    {"row": pa.int64(), "user_id": pa.string(), "item_id": pa.string(), "timestamp": pa.int64()}
)


class Lcrec(Source):
    """Goes with `split: leave_one_out`, which is LC-Rec's; an order-only log.

    Reads `NAME.inter.json` (the items of each user in order), `NAME.item.json`, `NAME.index.json`
    and, where there is one, `NAME.item2id` with the items' own ids; plain or gzipped. The items'
    column `sid` holds the given SIDs.
    """

    path: Path = Field(description="a folder with NAME.inter.json, NAME.item.json, NAME.index.json")

    def input_files(self) -> list[Path]:
        """The files that were found, by their role."""
        return list(self._files().values())

    def ingest(self, con: Connection, out: Path) -> dict[str, int]:
        """Read users, items and SIDs.

        Counts `users`, those without an item (`users_without_items`), and items by their SIDs
        (`items_with_sid`, `items_without_sid`, `items_sharing_a_sid`).
        """
        import ibis

        files = self._files()
        users = _read_sequences(files["inter"])
        index = read_index(files["index"]) if "index" in files else {}
        known = catalogue(read_item_texts(files["item"]), index)
        if "item2id" in files:
            own = read_own_ids(files["item2id"])
            require_own_ids(files["item2id"], own, set(known).union(*users.values()))
            users = {user: [own[item] for item in items] for user, items in users.items()}
            known = {own[item]: {**known[item], "item_id": own[item]} for item in known}
        log = materialise(con, ibis.memtable(_as_table(users)).order_by("row"))
        items = materialise(con, ibis.memtable(item_table(known)))
        counts = {
            "order_only": 1,
            "users": len(users),
            "users_without_items": sum(not items for items in users.values()),
        }
        return counts | count_sids(known) | write_log(con, log, items, out)

    def _files(self) -> dict[str, Path]:
        """The file of each role: inter, item, and where they exist index and item2id.

        Raises:
            UserError: one is missing, or there are several of a role.
        """
        folder = folder_of(self.path, "LC-Rec")
        files: dict[str, Path] = {}
        for role, ending in (
            ("inter", "inter.json"),
            ("item", "item.json"),
            ("index", "index.json"),
            ("item2id", "item2id"),
        ):
            found = sorted([*folder.glob(f"*.{ending}"), *folder.glob(f"*.{ending}.gz")])
            if len(found) > 1:
                names = ", ".join(path.name for path in found)
                raise UserError(f"{folder}: expected one *.{ending}, found {names}; keep one")
            if not found and role in ("inter", "item"):
                raise UserError(f"{folder}: expected a file NAME.{ending}, found {listed(folder)}")
            if found:
                files[role] = found[0]
        return files


def _read_sequences(path: Path) -> dict[str, list[str]]:
    """The items of each user of an `.inter.json`, in order.

    Raises:
        UserError: they are no list of item numbers (or ids).
    """
    users: dict[str, Any] = read_object(path)
    for user, items in users.items():
        if not isinstance(items, list) or not all(
            isinstance(item, int | str) and not isinstance(item, bool) and item != ""
            for item in items
        ):
            raise UserError(
                f"{path}: expected the items of user {user!r} as a list of their numbers, "
                f"found {str(items)[:80]}"
            )
    if "" in users:
        raise UserError(f"{path}: expected a name of every user, found an empty one")
    return {user: [str(item) for item in items] for user, items in users.items()}


def _as_table(users: dict[str, list[str]]) -> pa.Table:
    flat = [(user, item, place) for user in users for place, item in enumerate(users[user])]
    columns = list(zip(*flat, strict=True)) or [(), (), ()]
    return pa.table([list(range(len(flat))), *columns], schema=SCHEMA)
