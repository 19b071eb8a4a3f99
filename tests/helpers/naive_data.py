"""Filters and splits row by row in plain Python: what those in Ibis are held to."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from recllm.data_prep.splits import Split
from recllm.data_prep.tables import Connection, Table, read

Log = list[dict[str, Any]]
Tables = dict[str, Log]
Counts = dict[str, int]
SPLITS = ("train", "valid", "test")
COLUMNS = {
    "row": pa.int64(),
    "user_id": pa.string(),
    "item_id": pa.string(),
    "item": pa.int32(),
    "timestamp": pa.int64(),
    "rating": pa.float64(),
    "behavior": pa.string(),
    "is_target": pa.bool_(),
    "title": pa.string(),
    "split": pa.string(),
    "sequence": pa.int64(),
    "history": pa.int64(),
}

USERS = st.sampled_from(["a", "B", "é", "10", "9"])


def logs(**columns: st.SearchStrategy[Any]) -> st.SearchStrategy[Log]:
    """Logs of a few users, the rows with gaps between them; `columns` besides user_id."""
    rows = st.fixed_dictionaries({"user_id": USERS, **columns})
    return st.lists(rows, min_size=1, max_size=40).map(
        lambda found: [{"row": 3 * place, **row} for place, row in enumerate(found)]
    )


def write_rows(rows: Log, path: Path) -> None:
    """Write rows to Parquet under the types that the stages give their columns."""
    schema = pa.schema([(name, kind) for name, kind in COLUMNS.items() if name in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema), path)


def load(con: Connection, rows: Log, path: Path) -> Table:
    """Rows as a table of the session, by way of a file."""
    write_rows(rows, path)
    return read(con, path)


def write_filtered(rows: Log, folder: Path) -> None:
    """Write rows with user_id and item as the stage filter does."""
    owners = by_owner(rows, "sequence" if "sequence" in rows[0] else "user_id")
    log: Log = []
    users: Log = []
    for sequence, own in enumerate(owners.values()):
        users.append({"sequence": sequence, "user_id": own[0]["user_id"]})
        log += [
            {name: value for name, value in row.items() if name != "user_id"}
            | {"sequence": sequence}
            for row in own
        ]
    write_rows(log, folder / "interactions.parquet")
    write_rows(users, folder / "owners.parquet")


def divide(
    con: Connection, split: Split, log: Log, folder: Path, drop_cold: bool = False
) -> tuple[Tables, Counts]:
    """Run a split over a filtered log: rows with user_id and item."""
    write_filtered(log, folder)
    counts = split.divide(con, folder, folder, drop_cold)
    tables = {n: pq.read_table(folder / f"{n}.parquet") for n in ("sequences", *SPLITS)}
    return {name: table.to_pylist() for name, table in tables.items()}, counts


def core(log: Log, user_k: int, item_k: int) -> Log:
    """What is left when users and items with too few rows are left out until there are none."""
    while True:
        users, items = Counter(r["user_id"] for r in log), Counter(r["item_id"] for r in log)
        kept = [r for r in log if users[r["user_id"]] >= user_k and items[r["item_id"]] >= item_k]
        if kept == log:
            return kept
        log = kept


def by_owner(log: Log, owner: str = "user_id") -> dict[Any, Log]:
    """Each user's rows in the order of time, then row; users sorted."""
    owners: dict[Any, Log] = defaultdict(list)
    for row in sorted(log, key=lambda r: (r[owner], r["timestamp"], r["row"])):
        owners[row[owner]].append(row)
    return owners


def without_repeats(log: Log, consecutive: bool) -> Log:
    """Each user's first row with an item and behaviour, or that of each run of them."""
    kept = []
    for own in by_owner(log).values():
        seen: list[Any] = []
        for row in own:
            key = (row["item_id"], row.get("behavior"))
            if key not in (seen[-1:] if consecutive else seen):
                kept.append(row)
            seen.append(key)
    return sorted(kept, key=lambda r: r["row"])


def leave_one_out(log: Log, drop_cold: bool = False) -> tuple[Tables, Counts]:
    """The last target of each user is tested, the one before it validated."""
    labelled, counts = {}, {"users_too_short": 0, "users_with_tied_last_times": 0}
    if "is_target" in log[0]:
        counts["after_test"] = 0
    for user, own in by_owner(log).items():
        targets = [place for place, row in enumerate(own) if row.get("is_target", True)]
        labels = [_if_target(row, place, "train") for place, row in enumerate(own)]
        train_end = len(own)
        valid, test = [-1, -1, *targets][-2:]
        if valid >= 0:
            tied = own[valid]["timestamp"] == own[test]["timestamp"]
            counts["users_with_tied_last_times"] += tied
        if valid > 0:
            labels[valid], labels[test], train_end = "valid", "test", valid
            if "is_target" in own[0]:
                counts["after_test"] += len(own) - 1 - test
        else:
            counts["users_too_short"] += 1
        labelled[user] = (own, train_end, labels)
    tables, found = as_tables(labelled, drop_cold)
    return tables, found | counts


def in_parts(
    log: Log, part_of: Callable[[dict[str, Any]], str], drop_cold: bool = False
) -> tuple[Tables, Counts]:
    """Every row is a target of the part that it lies in, but for users' first ones."""
    labelled, counts = {}, {"valid_without_history": 0, "test_without_history": 0}
    for user, own in by_owner(log).items():
        parts = [part_of(row) for row in own]
        labels = [_if_target(row, place, parts[place]) for place, row in enumerate(own)]
        labelled[user] = (own, parts.count("train"), labels)
        if parts[0] != "train" and own[0].get("is_target", True):
            counts[f"{parts[0]}_without_history"] += 1
    tables, found = as_tables(labelled, drop_cold)
    return tables, found | counts


def temporal(
    log: Log, valid_from: int, test_from: int, drop_cold: bool = False
) -> tuple[Tables, Counts]:
    """What lies before two times, between them, and after them."""

    def part_of(row: dict[str, Any]) -> str:
        time = row["timestamp"]
        return "train" if time < valid_from else "valid" if time < test_from else "test"

    tables, counts = in_parts(log, part_of, drop_cold)
    return tables, counts | {"valid_from": valid_from, "test_from": test_from}


def minionerec(log: Log, drop_cold: bool = False) -> tuple[Tables, Counts]:
    """All pairs of history and target in the order of time, cut 8:1:1."""
    pairs = [
        row
        for own in by_owner(log).values()
        for place, row in enumerate(own)
        if _if_target(row, place, "pair")
    ]
    pairs.sort(key=lambda r: (r["timestamp"], r["row"]))
    firsts = [pairs[int(share * len(pairs))] for share in (0.8, 0.9)]
    cuts = [(first["timestamp"], first["row"]) for first in firsts]

    def part_of(row: dict[str, Any]) -> str:
        return SPLITS[sum((row["timestamp"], row["row"]) >= cut for cut in cuts)]

    tables, counts = in_parts(log, part_of, drop_cold)
    return tables, counts | {"valid_from": cuts[0][0], "test_from": cuts[1][0]}


def part_of_user(user: str, seed: int, valid_share: float, test_share: float) -> str:
    """The part of a user, by the first digits of a digest as a fraction."""
    digest = hashlib.sha256(f"{seed}:{user}".encode()).hexdigest()
    fraction = int(digest[:8], 16)
    if fraction < int(test_share * 2**32):
        return "test"
    return "valid" if fraction < int((test_share + valid_share) * 2**32) else "train"


def user_disjoint(
    log: Log, seed: int, shares: tuple[float, float], only_last: bool, drop_cold: bool = False
) -> tuple[Tables, Counts]:
    """Whole users are trained on, validated on or tested on."""
    labelled, counts = (
        {},
        dict.fromkeys([*(f"{name}_users" for name in SPLITS), "users_too_short"], 0),
    )
    for user, own in by_owner(log).items():
        part = part_of_user(user, seed, *shares)
        labels = [_if_target(row, place, part) for place, row in enumerate(own)]
        targets = [place for place, label in enumerate(labels) if label]
        if only_last and part != "train":
            labels = [
                label if [place] == targets[-1:] else None for place, label in enumerate(labels)
            ]
        counts[f"{part}_users"] += 1
        counts["users_too_short"] += not targets
        labelled[user] = (own, len(own) if part == "train" else 0, labels)
    tables, found = as_tables(labelled, drop_cold)
    return tables, found | counts


def given(log: Log, drop_cold: bool = False) -> tuple[Tables, Counts] | None:
    """As the rows are labelled; None where a label comes too early."""
    labelled, counts = {}, {"history_only": 0, "no_history": 0}
    for user, own in by_owner(log).items():
        train_end, held_out, tested = 0, False, False
        for place, row in enumerate(own):
            label, is_target = row["split"], row.get("is_target", True)
            if (label == "train" and held_out) or (label == "valid" and tested):
                return None
            held_out |= label in ("valid", "test") or (label is None and is_target)
            tested |= label == "test"
            train_end = place + 1 if label == "train" else train_end
            counts["history_only"] += label is None or not is_target
            counts["no_history"] += label in ("valid", "test") and is_target and place == 0
        labels = [_if_target(row, place, row["split"]) for place, row in enumerate(own)]
        labelled[user] = (own, train_end, labels)
    tables, found = as_tables(labelled, drop_cold)
    return tables, found | counts


def as_tables(
    labelled: dict[str, tuple[Log, int, list[str | None]]], drop_cold: bool
) -> tuple[Tables, Counts]:
    """The tables of the stage, of each user's rows, training end and labels."""
    trained = [row for own, train_end, _ in labelled.values() for row in own[:train_end]]
    warm_items, warm_users = ({row[key] for row in trained} for key in ("item", "user_id"))
    tables: Tables = {name: [] for name in ("sequences", *SPLITS)}
    for sequence, (user, (own, train_end, labels)) in enumerate(labelled.items()):
        tables["sequences"].append(
            {
                "sequence": sequence,
                "user_id": user,
                "items": [row["item"] for row in own],
                "rows": [row["row"] for row in own],
                "train_end": train_end,
            }
        )
        for end, (row, label) in enumerate(zip(own, labels, strict=True)):
            if label is None:
                continue
            target = {"row": row["row"], "user_id": user, "sequence": sequence}
            target |= {"start": 0, "end": end, "target": row["item"]}
            if label != "train":
                target["cold_item"] = row["item"] not in warm_items
                target["cold_user"] = user not in warm_users
            tables[label].append(target)
    rows = [row for own, _, _ in labelled.values() for row in own]
    counts = {
        "sequences": len(labelled),
        "cold_items": len({row["item"] for row in rows} - warm_items),
        "cold_users": len({row["user_id"] for row in rows} - warm_users),
    }
    for name in SPLITS[1:]:
        cold = sum(row["cold_item"] for row in tables[name])
        if drop_cold:
            tables[name] = [row for row in tables[name] if not row["cold_item"]]
            counts[f"dropped_cold_targets_{name}"] = cold
        counts[f"cold_targets_{name}"] = 0 if drop_cold else cold
    return tables, counts | {name: len(tables[name]) for name in SPLITS}


def _if_target(row: dict[str, Any], place: int, label: str | None) -> str | None:
    """The label of a row that can be a target: it has a history, and its behaviour is asked for."""
    return label if place and row.get("is_target", True) else None
