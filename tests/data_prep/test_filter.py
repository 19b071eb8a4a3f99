"""The stage `filter` against plain Python."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import naive_data
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive_data import Log, load, logs

from recllm.config.schema import DataSection
from recllm.data_prep.core import encode, k_core
from recllm.data_prep.tables import read, session
from recllm.errors import UserError

from .conftest import FEW

Write = Callable[[str, str], Path]
Prepare = Callable[..., Any]


CORES = (logs(item_id=st.sampled_from("abcdefgh")), st.integers(0, 5), st.integers(0, 5))


def assert_core(con: Any, folder: Path, log: Log, user_k: int, item_k: int) -> None:
    coded = encode(con, load(con, log, folder / "log.parquet"), user_k, item_k)
    users, items = k_core(con, coded.log, user_k, item_k)
    expected = naive_data.core(log, user_k, item_k)
    cores = (coded.users.join(users, "user").user_id, coded.items.join(items, "item").item_id)
    for core, ids in zip(cores, ("user_id", "item_id"), strict=True):
        found = core.to_pyarrow().to_pylist()
        assert sorted(found) == sorted({row[ids] for row in expected})


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(*CORES)
def test_the_core_is_that_of_plain_python(
    con: Any, tmp_path: Path, log: Log, user_k: int, item_k: int
) -> None:
    assert_core(con, tmp_path, log, user_k, item_k)


@pytest.mark.slow
@FEW
@given(*CORES)
def test_the_core_on_spark(
    spark: DataSection, tmp_path: Path, log: Log, user_k: int, item_k: int
) -> None:
    with session(spark) as con:
        assert_core(con, tmp_path, log, user_k, item_k)


def chain_log(length: int) -> str:
    """A log that loses one user or item a round until nothing is left of its 2-core."""
    lines = [f"u{i},i{i}\nu{i},i{i + 1}\n" for i in range(length)]
    return "user,item\n" + "".join(lines)


def test_a_core_that_takes_many_rounds(write_file: Write, prepare: Prepare) -> None:
    ring = "".join(f"v{i},j{i}\nv{i},j{(i + 1) % 3}\n" for i in range(3))
    path = write_file("log.csv", chain_log(9) + ring)
    done = prepare("filter", source="files", path=path, k_core=2)
    owners = done.rows("filter", "owners")
    assert owners == [{"sequence": n, "user_id": f"v{n}"} for n in range(3)]
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


def test_users_and_items_have_a_k_of_their_own(write_file: Write, prepare: Prepare) -> None:
    log = "user,item\na,x\na,y\na,z\nb,x\nb,y\nc,x\n"
    path = write_file("log.csv", log)

    def left(**data: Any) -> list[int]:
        done = prepare("filter", source="files", path=path, **data)
        return [r["row"] for r in done.rows("filter", "interactions")]

    assert left(k_core=0, user_k=2) == [0, 1, 2, 3, 4]
    assert left(k_core=0, item_k=2) == [0, 1, 3, 4, 5]
    assert left(user_k=0, item_k=3) == [0, 3, 5]
    assert left(k_core=2) == left(user_k=2, item_k=2) == [0, 1, 3, 4]
    assert left(k_core=2, user_k=1) == [0, 1, 3, 4, 5]


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
    assert list(interactions[0]) == ["row", "sequence", "item", "timestamp"]
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
    with pytest.raises(UserError, match=r"user_k 2 and item_k 3 remove all of the 4 interactions"):
        prepare("filter", source="files", path=path, k_core=3, user_k=2)
    with pytest.raises(UserError, match="no interaction is rated 6 or better"):
        prepare("filter", source="files", path=path, k_core=0, min_rating=6)
    with pytest.raises(UserError, match="the log has no ratings"):
        unrated = write_file("unrated.csv", "user,item\na,x\na,y\nb,x\n")
        prepare("filter", source="files", path=unrated, k_core=0, min_rating=3)


def test_the_core_of_beauty_is_all_of_it(beauty: Any) -> None:
    counts = beauty.counts["filter"]
    assert (counts["interactions"], counts["users"], counts["items"]) == (198_502, 22_363, 12_101)


def test_the_core_of_movielens_is_that_of_plain_python(movielens: Any) -> None:
    counts = movielens.counts["filter"]
    assert (counts["interactions"], counts["users"], counts["items"]) == (100_004, 671, 9_066)
    log = movielens.folders["filter"] / "interactions.parquet"
    with session() as con:
        found = k_core(con, read(con, log).rename(user="sequence"), 30, 10)
        users, items = (
            set(ids[name].to_pyarrow().to_pylist())
            for ids, name in zip(found, ("user", "item"), strict=True)
        )
    rows = [
        r | {"user_id": r["sequence"], "item_id": r["item"]}
        for r in movielens.rows("filter", "interactions")
    ]
    core = [r for r in rows if r["sequence"] in users and r["item"] in items]
    assert core == naive_data.core(rows, 30, 10)
    assert 50_000 < len(core) < 90_000
