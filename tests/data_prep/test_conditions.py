"""What interactions must meet to stay, against plain Python, and what is said where none does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ibis
import naive_data
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from naive_data import Log, load, logs, write_rows

from recllm.config.schema import DataSection
from recllm.config.validation import validate
from recllm.data_prep.conditions import (
    meet_conditions,
    of_behaviors,
    rated,
    titled,
    within,
    without_repeats,
)
from recllm.data_prep.filter import Filter
from recllm.errors import UserError

from .conftest import make_recipe

Prepare = Callable[..., Any]
Write = Callable[[str, str], Path]

ITEMS, TIMES = st.sampled_from(["x", "Y", "ü", "7"]), st.integers(-3, 12)
BEHAVIORS = st.sampled_from(["view", "cart", "buy", "", None])
examples = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


def conditions(**data: Any) -> DataSection:
    return make_recipe(**data).data


def rows_of(table: Any) -> Log:
    return table.order_by("row").to_pyarrow().to_pylist()


@examples
@given(logs(item_id=ITEMS, rating=st.sampled_from([None, 1.0, 2.5, 3.0])), st.integers(0, 4))
def test_ratings(con: Any, tmp_path: Path, log: Log, least: int) -> None:
    table = load(con, log, tmp_path / "log.parquet")
    expected = [row for row in log if row["rating"] is not None and row["rating"] >= least]
    if not expected:
        with pytest.raises(UserError, match=f"no interaction is rated {least} or better"):
            rated(table, least)
        return
    kept, counts = rated(table, least)
    assert rows_of(kept) == expected
    without = sum(row["rating"] is None for row in log)
    below = len(log) - len(expected) - without
    assert counts == {"below_rating": below, "without_rating": without}


@examples
@given(
    logs(item_id=ITEMS, timestamp=TIMES),
    st.one_of(st.none(), TIMES),
    st.one_of(st.none(), TIMES),
)
def test_a_window_of_time(
    con: Any, tmp_path: Path, log: Log, since: int | None, until: int | None
) -> None:
    assume(since is not None or until is not None)
    table = load(con, log, tmp_path / "log.parquet")
    early = [row for row in log if since is not None and row["timestamp"] < since]
    late = [row for row in log if until is not None and row["timestamp"] >= until]
    expected = [row for row in log if row not in early and row not in late]
    if not expected:
        with pytest.raises(UserError, match=r"no interaction happened .*; the log goes from"):
            within(table, since, until)
        return
    kept, counts = within(table, since, until)
    assert rows_of(kept) == expected
    expected_counts = {"before_since": len(early)} if since is not None else {}
    expected_counts |= {"until_or_later": len(late)} if until is not None else {}
    assert counts == expected_counts


TITLES = st.sampled_from(["", "ab", "  a\t", "äöü", "\nabcd ", "a b", "x", "Y"])


@examples
@given(
    logs(item_id=ITEMS, timestamp=TIMES),
    st.fixed_dictionaries(dict.fromkeys(["x", "Y", "ü", "7", "unused"], TITLES)),
    st.integers(1, 5),
)
def test_titles(
    con: Any, tmp_path: Path, log: Log, titles: dict[str, str], min_length: int
) -> None:
    table = load(con, log, tmp_path / "log.parquet")
    catalogue = [{"item_id": item, "title": title} for item, title in titles.items()]
    items = load(con, catalogue, tmp_path / "items.parquet")
    short = {i for i, title in titles.items() if len(title.strip()) < min_length or title == i}
    expected = [row for row in log if row["item_id"] not in short]
    if not expected:
        with pytest.raises(UserError, match=f"whose title has {min_length} characters"):
            titled(table, items, min_length)
        return
    kept, counts = titled(table, items, min_length)
    assert rows_of(kept) == expected
    assert counts == {
        "items_with_short_titles": len(short),
        "interactions_with_short_titles": len(log) - len(expected),
    }


@examples
@given(
    st.one_of(
        logs(item_id=ITEMS, timestamp=TIMES),
        logs(item_id=ITEMS, timestamp=TIMES, behavior=st.sampled_from(["view", "buy", None])),
    ),
    st.booleans(),
)
def test_repeats(con: Any, tmp_path: Path, log: Log, consecutive: bool) -> None:
    kept, counts = without_repeats(load(con, log, tmp_path / "log.parquet"), consecutive)
    expected = naive_data.without_repeats(log, consecutive)
    assert rows_of(kept) == expected
    name = "consecutive_repeats" if consecutive else "repeats"
    assert counts == {name: len(log) - len(expected)}


@examples
@given(
    logs(item_id=ITEMS, timestamp=TIMES, behavior=BEHAVIORS),
    st.lists(st.sampled_from(["view", "cart", "buy"]), unique=True, min_size=1),
    st.integers(1, 3),
)
def test_behaviors(con: Any, tmp_path: Path, log: Log, history: list[str], size: int) -> None:
    table = load(con, log, tmp_path / "log.parquet")
    target = history[:size]
    data = conditions(history_behaviors=history, target_behaviors=target)
    unknown = sorted(set(history) - {row["behavior"] for row in log})
    if unknown:
        with pytest.raises(UserError, match=f"the log has no behavior '{unknown[0]}'.*; found "):
            of_behaviors(table, data)
        return
    kept, counts = of_behaviors(table, data)
    expected = [row for row in log if row["behavior"] in history]
    if set(target) != set(history):
        expected = [row | {"is_target": row["behavior"] in target} for row in expected]
    assert rows_of(kept) == expected
    without = sum(row["behavior"] is None for row in log)
    assert counts == {
        "of_other_behaviors": len(log) - len(expected) - without,
        "without_behavior": without,
    }


@examples
@given(logs(item_id=ITEMS, timestamp=TIMES, behavior=BEHAVIORS))
def test_all_behaviors_are_histories_where_only_targets_are_named(
    con: Any, tmp_path: Path, log: Log
) -> None:
    log[0]["behavior"] = "buy"
    table = load(con, log, tmp_path / "log.parquet")
    kept, counts = of_behaviors(table, conditions(target_behaviors=["buy"]))
    assert rows_of(kept) == [row | {"is_target": row["behavior"] == "buy"} for row in log]
    assert counts == {}


#: A user for each condition: what one leaves out, those after it do not see.
ORDERED = [
    {"user_id": user, "item_id": item, "timestamp": time, "rating": rating, "behavior": behavior}
    for user, item, time, rating, behavior in [
        ("a", "x", 5, 1.0, "hide"),
        ("a", "x", 5, 1.0, "view"),
        ("a", "x", 1, 3.0, "view"),
        ("a", "short", 5, 3.0, "view"),
        ("a", "x", 6, 3.0, "view"),
        ("a", "short", 7, 3.0, "view"),
        ("a", "x", 8, 3.0, "view"),
        ("a", "x", 9, 3.0, "buy"),
        ("a", "x", 99, 3.0, "buy"),
        ("b", "y", 5, 3.0, "view"),
    ]
]


def run_filter(folder: Path, log: Log, **data: Any) -> tuple[Log, dict[str, int]]:
    """Run the stage on an ingested log."""
    ingested, out = folder / "ingest", folder / "filter"
    for path in (ingested, out):
        path.mkdir(exist_ok=True)
    write_rows(
        [{"row": place} | row for place, row in enumerate(log)], ingested / "interactions.parquet"
    )
    items = [
        {"item_id": item, "title": "T" if item == "short" else "A title"}
        for item in dict.fromkeys(row["item_id"] for row in log)
    ]
    write_rows(items, ingested / "items.parquet")
    counts = Filter(make_recipe(**data)).build({"ingest": ingested}, out)
    return pq.read_table(out / "interactions.parquet").to_pylist(), counts


def test_conditions_are_tried_in_a_stated_order_and_each_counts(
    engine: DataSection, tmp_path: Path
) -> None:
    rows, counts = run_filter(
        tmp_path,
        ORDERED,
        **engine.model_dump(include={"engine", "spark"}),
        history_behaviors=["view", "buy"],
        target_behaviors=["buy"],
        min_rating=2,
        since=5,
        until=99,
        min_title_length=2,
        repeats="drop-consecutive",
        user_k=2,
        item_k=0,
    )
    assert [(r["row"], r["is_target"]) for r in rows] == [(4, False), (7, True)]
    assert counts == {
        "interactions_before": 10,
        "items_before": 3,
        "of_other_behaviors": 1,
        "without_behavior": 0,
        "below_rating": 1,
        "without_rating": 0,
        "before_since": 1,
        "until_or_later": 1,
        "items_with_short_titles": 1,
        "interactions_with_short_titles": 2,
        "consecutive_repeats": 1,
        "interactions_below_k_core": 1,
        "users_below_k_core": 1,
        "items_below_k_core": 1,
        "interactions": 2,
        "users": 1,
        "items": 1,
        "history_only": 1,
    }
    assert counts["interactions_before"] - counts["interactions"] == sum(
        counts[name]
        for name in (
            "of_other_behaviors",
            "below_rating",
            "before_since",
            "until_or_later",
            "interactions_with_short_titles",
            "consecutive_repeats",
            "interactions_below_k_core",
        )
    )


def test_the_same_settings_in_other_words_are_the_same_settings() -> None:
    one = make_recipe(k_core=3, since="2020-01-01", history_behaviors=["a", "b"])
    other = make_recipe(user_k=3, item_k=3, since=1577836800, history_behaviors=["b", "a"])
    assert Filter(one).settings() == Filter(other).settings()
    assert Filter(one).settings() != Filter(make_recipe(k_core=3)).settings()


def test_behaviors_that_the_log_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no behavior 'wish'; found view \(7\), buy \(2\), hide"):
        run_filter(tmp_path, ORDERED, target_behaviors=["wish"])
    log = [{k: v for k, v in row.items() if k != "behavior"} for row in ORDERED]
    with pytest.raises(UserError, match=r"names behaviors \(buy\), but the log has none"):
        run_filter(tmp_path, log, target_behaviors=["buy"])
    many = [ORDERED[0] | {"behavior": f"b{place:02d}"} for place in range(30)]
    with pytest.raises(UserError, match=r"found b00 \(1\), .*b19 \(1\), …; mend") as error:
        run_filter(tmp_path, many, target_behaviors=["buy"])
    assert "b20" not in str(error.value)


def test_times_of_a_log_that_has_none(write_file: Write, prepare: Prepare) -> None:
    path = write_file("log.csv", "user,item,position\na,x,1\na,y,2\n")
    with pytest.raises(UserError, match=r"data\.since and data\.until choose by time, but the log"):
        prepare("filter", source="files", path=path, k_core=0, since="2020-01-01")


def test_dates(write_file: Write, prepare: Prepare) -> None:
    text = "user,item,time\n" + "".join(f"a,i{d},2020-01-0{d}\n" for d in range(1, 8))
    path = write_file("log.csv", text)
    window = {"since": "2020-01-03", "until": "2020-01-05"}
    done = prepare("filter", source="files", path=path, k_core=0, **window)
    assert [r["row"] for r in done.rows("filter", "interactions")] == [2, 3]
    with pytest.raises(UserError, match=r"before 2019-01-01 \(7 .* from 2020-01-01 \(1577836800\)"):
        prepare("filter", source="files", path=path, k_core=0, until="2019-01-01")


def test_an_item_that_goes_by_its_id_has_no_title(write_file: Write, prepare: Prepare) -> None:
    path = write_file("log.csv", "user,item\na,some-long-id\na,other-long-id\n")
    items = write_file("items.csv", "item,title\nsome-long-id,Book\nother-long-id,\n")
    files = {"source": "files", "path": path, "items": items, "k_core": 0}
    done = prepare("filter", **files, min_title_length=3)
    assert [r["title"] for r in done.rows("filter", "items")] == ["Book"]


@pytest.mark.parametrize(
    ("settings_", "advice"),
    [
        ({"k_core": 5}, r"set data\.k_core to 0$"),
        ({"k_core": 0, "item_k": 2}, r"set data\.k_core to 0 and leave out data\.item_k$"),
        ({"k_core": 0, "repeats": "drop-all"}, r"filtered; leave out data\.repeats$"),
        ({"k_core": 0, "since": 5, "min_title_length": 2}, r"data\.since, data\.min_title_length$"),
        ({"k_core": 0, "target_behaviors": ["buy"]}, r"leave out data\.target_behaviors$"),
        ({"min_rating": 2}, r"set data\.k_core to 0 and leave out data\.min_rating$"),
    ],
)
def test_ready_made_histories_refuse_every_filter(
    settings_: dict[str, Any], advice: str, tmp_path: Path
) -> None:
    log = [{"user_id": "a", "item_id": "x", "timestamp": 0, "history": 0}]
    with pytest.raises(UserError, match=advice):
        run_filter(tmp_path, log, **settings_)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"since": "2020-02-01", "until": "2020-02-01"}, "since .* must be before until"),
        ({"since": "soon"}, r"data\.since: expected an ISO date such as 2016-01-31"),
        ({"until": True}, r"data\.until: expected an ISO date .*found True"),
        ({"user_k": -1}, r"data\.user_k: expected"),
        ({"repeats": "drop"}, r"data\.repeats: expected 'keep', 'drop-consecutive' or 'drop-all'"),
        ({"history_behaviors": []}, r"data\.history_behaviors: expected"),
        (
            {"history_behaviors": ["view"], "target_behaviors": ["buy"]},
            r"target_behaviors must be among history_behaviors \(view\), found buy",
        ),
    ],
)
def test_settings_that_cannot_be(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_recipe(**data)


def test_history_only_interactions_cannot_be_trained_in_one_pass() -> None:
    raw = {"output_dir": "unused", "model": {"name": "unused"}, "sft": {"targets": "all"}}
    with pytest.raises(UserError, match=r"sft\.targets: all trains every interaction"):
        validate(raw | {"data": {"target_behaviors": ["buy"]}})
    same = {"target_behaviors": ["buy"], "history_behaviors": ["buy"]}
    assert not validate(raw | {"data": same}).data.has_history_only


def test_nothing_is_touched_without_conditions(con: Any, tmp_path: Path) -> None:
    log = load(con, [{"row": 0, "user_id": "a", "item_id": "x"}], tmp_path / "log.parquet")
    left, counts = meet_conditions(con, log, ibis.table({"item_id": "string"}), conditions(), True)
    assert left is log and counts == {}
