"""The stage `filter` against plain Python."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ibis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.config.schema import DataSection
from recllm.data_prep.core import k_core
from recllm.data_prep.tables import materialise, read, session
from recllm.errors import UserError

from .conftest import FEW

Write = Callable[[str, str], Path]
Prepare = Callable[..., Any]


def naive_core(pairs: list[tuple[int, int]], k: int) -> list[tuple[int, int]]:
    while True:
        users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        kept = [(u, i) for u, i in pairs if users[u] >= k and items[i] >= k]
        if kept == pairs:
            return kept
        pairs = kept


PAIRS = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=60)


def assert_core(con: Any, pairs: list[tuple[int, int]], k: int) -> None:
    rows = [{"user": user, "item": item} for user, item in pairs]
    core = k_core(con, materialise(con, ibis.memtable(rows)), k, k).to_pyarrow().to_pylist()
    assert sorted((r["user"], r["item"]) for r in core) == sorted(naive_core(pairs, k))


@pytest.fixture(scope="module")
def con() -> Iterator[Any]:
    with session() as opened:
        yield opened


@settings(max_examples=40)
@given(PAIRS, st.integers(1, 5))
def test_the_core_is_that_of_plain_python(con: Any, pairs: list[tuple[int, int]], k: int) -> None:
    assert_core(con, pairs, k)


@FEW
@given(PAIRS, st.integers(2, 5))
def test_the_core_on_spark(spark: DataSection, pairs: list[tuple[int, int]], k: int) -> None:
    with session(spark) as con:
        assert_core(con, pairs, k)


def chain_log(length: int) -> str:
    """A log that loses one user or item a round until nothing is left of its 2-core."""
    lines = [f"u{i},i{i}\nu{i},i{i + 1}\n" for i in range(length)]
    return "user,item\n" + "".join(lines)


def test_a_core_that_takes_many_rounds(write_file: Write, prepare: Prepare) -> None:
    ring = "".join(f"v{i},j{i}\nv{i},j{(i + 1) % 3}\n" for i in range(3))
    path = write_file("log.csv", chain_log(9) + ring)
    done = prepare("filter", source="files", path=path, k_core=2)
    assert {r["user_id"] for r in done.rows("filter", "interactions")} == {"v0", "v1", "v2"}
    assert done.counts["filter"] == {
        "interactions_before": 24,
        "items_before": 13,
        "interactions_below_k_core": 18,
        "users_below_k_core": 9,
        "items_below_k_core": 10,
        "interactions": 6,
        "users": 3,
        "items": 3,
    }


def test_items_are_numbered_in_the_order_of_their_ids(write_file: Write, prepare: Prepare) -> None:
    log = "user,item\na,10\na,9\nb,Z\nb,a\nb,é\nb,9\n"
    items = "item,title,brand\nunused,U,\n9,Nine,N\n10,Ten,\n"
    done = prepare(
        "filter",
        source="files",
        path=write_file("l.csv", log),
        items=write_file("i.csv", items),
        k_core=0,
    )
    catalogue = done.rows("filter", "items")
    assert [r["item_id"] for r in catalogue] == ["10", "9", "Z", "a", "é"]
    assert [r["item"] for r in catalogue] == [0, 1, 2, 3, 4]
    assert catalogue[1] == {"item": 1, "item_id": "9", "title": "Nine", "brand": "N"}
    interactions = done.rows("filter", "interactions")
    assert [r["item"] for r in interactions] == [0, 1, 2, 3, 4, 1]
    assert list(interactions[0]) == ["row", "user_id", "item", "timestamp"]
    assert done.counts["filter"]["items_before"] == 6


RATED = "user,item,rating\na,x,5\na,y,2\nb,x,\nb,y,3\n"


def test_ratings(write_file: Write, prepare: Prepare) -> None:
    path = write_file("log.csv", RATED)
    done = prepare("filter", source="files", path=path, k_core=0, min_rating=3)
    rows = done.rows("filter", "interactions")
    assert [(r["row"], r["rating"]) for r in rows] == [(0, 5.0), (3, 3.0)]
    counts = done.counts["filter"]
    assert (counts["below_rating"], counts["without_rating"], counts["interactions"]) == (1, 1, 2)


def test_what_leaves_nothing_is_named(write_file: Write, prepare: Prepare) -> None:
    path = write_file("log.csv", RATED)
    with pytest.raises(UserError, match=r"k-core 3 removes all of the 4 interactions \(2 users, 2"):
        prepare("filter", source="files", path=path, k_core=3)
    with pytest.raises(UserError, match="no interaction is rated 6 or better"):
        prepare("filter", source="files", path=path, k_core=0, min_rating=6)
    with pytest.raises(UserError, match="the log has no ratings"):
        prepare("filter", source="simulated", users=9, items=5, min_rating=3)


def test_the_core_of_beauty_is_all_of_it(beauty: Any) -> None:
    counts = beauty.counts["filter"]
    assert (counts["interactions"], counts["users"], counts["items"]) == (198_502, 22_363, 12_101)


def test_the_core_of_movielens_is_that_of_plain_python(movielens: Any) -> None:
    counts = movielens.counts["filter"]
    assert (counts["interactions"], counts["users"], counts["items"]) == (100_004, 671, 9_066)
    log = movielens.folders["filter"] / "interactions.parquet"
    with session() as con:
        table = read(con, log).select("row", "item", user="user_id")
        core = k_core(con, materialise(con, table), 10, 10).to_pyarrow()["row"].to_pylist()
    pairs = [(r["user_id"], r["item"]) for r in movielens.rows("filter", "interactions")]
    assert len(core) == len(naive_core(pairs, 10)) < 90_000
