"""Windows as MiniOneRec's own script makes them: dictionaries, and five lists for each window.

Written from what `data/amazon18_data_process.py` of MiniOneRec does (arXiv 2510.24431): reviews are
dictionaries, counted anew in each turn of the k-core; each user gets parallel lists of items, their
numbers and titles, ratings and times; each window gets a copy of each list, of at most ten items;
all windows are sorted by the time of their target and parted 8:1:1; of each, a line is written
with the user and the numbers of the items.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow.parquet as pq

from benchmarks._windows import K
from recllm.catalog.split_names import SPLITS, SplitName

MAX_HISTORY = 10
SHARES = (0.8, 0.9)
FIELDS = ("items", "numbers", "titles", "ratings", "times")

Review: TypeAlias = dict[str, Any]
#: User, then of each field the history's list and the target's value.
Window: TypeAlias = list[Any]


def write_by_script(ingested: Path, out: Path) -> None:
    """Write a file of windows for each split, `user, history, target` in a line."""
    reviews = _core(_read_reviews(ingested))
    numbers: dict[str, int] = {}
    for review in reviews:
        numbers.setdefault(review["asin"], len(numbers))
    windows = list(_windows(_by_user(reviews, numbers)))
    windows.sort(key=lambda window: window[-1])
    cuts = [0, *(int(len(windows) * share) for share in SHARES), len(windows)]
    out.mkdir(exist_ok=True)
    for name, first, last in zip(SPLITS, cuts, cuts[1:], strict=False):
        with (out / f"{name}.inter").open("w") as file:
            for window in windows[first:last]:
                history = " ".join(map(str, window[3]))
                file.write(f"{window[0]}\t{history}\t{window[4]}\n")
    with (out / "items.tsv").open("w") as file:
        file.writelines(f"{number}\t{item}\n" for item, number in numbers.items())


def read_windows(out: Path) -> dict[SplitName, list[tuple[str, list[str], str]]]:
    """User, history and target of each window that `write_by_script` wrote, by the items' ids."""
    lines = (out / "items.tsv").read_text().splitlines()
    items = dict(line.split("\t") for line in lines)
    found: dict[SplitName, list[tuple[str, list[str], str]]] = {}
    for name in SPLITS:
        rows = [line.split("\t") for line in (out / f"{name}.inter").read_text().splitlines()]
        found[name] = [
            (user, [items[number] for number in history.split()], items[target])
            for user, history, target in rows
        ]
    return found


def _read_reviews(ingested: Path) -> list[Review]:
    log = pq.read_table(ingested / "interactions.parquet").to_pydict()
    items = pq.read_table(ingested / "items.parquet").to_pydict()
    titles = dict(zip(items["item_id"], items["title"], strict=True))
    return [
        {"user": user, "asin": item, "time": time, "rating": 5.0, "title": titles[item]}
        for user, item, time in zip(log["user_id"], log["item_id"], log["timestamp"], strict=True)
    ]


def _core(reviews: list[Review]) -> list[Review]:
    """What is left once nobody with too few reviews is."""
    gone: set[str] = set()
    while True:
        users: dict[str, int] = {}
        items: dict[str, int] = {}
        left = []
        for review in reviews:
            user, item = review["user"], review["asin"]
            if user in gone or item in gone:
                continue
            users[user] = users.get(user, 0) + 1
            items[item] = items.get(item, 0) + 1
            left.append(review)
        rare = {name for counts in (users, items) for name, n in counts.items() if n < K}
        if not rare:
            return left
        gone |= rare
        reviews = left


def _by_user(reviews: list[Review], numbers: Mapping[str, int]) -> dict[str, dict[str, list[Any]]]:
    """Each user's reviews as parallel lists, in the order of time."""
    users: dict[str, dict[str, list[Any]]] = {}
    for review in reviews:
        own = users.setdefault(review["user"], {field: [] for field in FIELDS})
        values = (review["asin"], numbers[review["asin"]], review["title"])
        for field, value in zip(FIELDS, (*values, review["rating"], review["time"]), strict=True):
            own[field].append(value)
    for own in users.values():
        rows = sorted(zip(*own.values(), strict=True), key=lambda row: row[-1])
        own.update(zip(FIELDS, map(list, zip(*rows, strict=True)), strict=True))
    return users


def _windows(users: Mapping[str, Mapping[str, list[Any]]]) -> Iterator[Window]:
    for user, own in users.items():
        for end in range(1, len(own["items"])):
            start = max(0, end - MAX_HISTORY)
            window: Window = [user]
            for values in own.values():
                window += [values[start:end], values[end]]
            yield window
