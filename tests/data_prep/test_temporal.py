"""The global temporal split of whole logs, and what it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import naive_data
import pytest

from recllm.config.validation import dump
from recllm.errors import UserError

from .conftest import make_recipe

Write = Callable[[str, str], Path]
Prepare = Callable[..., Any]
SPLITS = ("train", "valid", "test")


LOG = "user,item,time\n" + "".join(
    f"{user},{item},{time}\n"
    for user, item, time in [
        ("a", "x", "2020-01-01"),
        ("a", "y", "2020-01-02"),
        ("b", "y", "2020-01-03"),
        ("b", "x", "2020-02-01"),  # at the cut: validated on
        ("c", "x", "2020-02-01"),  # a user without a history
        ("c", "z", "2020-02-02"),  # an item that nobody had before
        ("a", "z", "2020-03-01T00:00:00Z"),
        ("a", "z", "2020-03-05"),
    ]
)


def test_dates_multiple_targets_and_what_is_cold(write_file: Write, prepare: Prepare) -> None:
    path = write_file("log.csv", LOG)
    dates = {"valid_from": "2020-02-01", "test_from": "2020-03-01"}
    done = prepare(source="files", path=path, k_core=0, split="temporal", **dates)
    ends = {
        n: [(r["user_id"], r["start"], r["end"]) for r in done.rows("split", n)] for n in SPLITS
    }
    assert ends == {
        "train": [("a", 0, 1)],
        "valid": [("b", 0, 1), ("c", 0, 1)],
        "test": [("a", 0, 2), ("a", 0, 3)],  # the history goes on after the cut
    }
    counts = done.counts["split"]
    assert (counts["valid_from"], counts["test_from"]) == (1580515200, 1583020800)
    assert (counts["valid_without_history"], counts["test_without_history"]) == (1, 0)
    assert (counts["cold_items"], counts["cold_users"]) == (1, 1)
    assert (counts["cold_targets_valid"], counts["cold_targets_test"]) == (1, 2)


def test_positions_are_no_times(write_file: Write, prepare: Prepare) -> None:
    text = "user,item,position\n" + "".join(f"u{n % 3},i{n},{n // 3}\n" for n in range(30))
    path = write_file("log.csv", text)
    with pytest.raises(UserError, match="positions and no times: those of different users do not"):
        prepare(source="files", path=path, k_core=0, split="temporal")
    assert prepare(source="files", path=path, k_core=0).counts["split"]["test"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"valid_from": "2020-02-01"}, "give both of 'valid_from' and 'test_from'"),
        ({"valid_from": "soon", "test_from": 9}, "expected an ISO date such as 2016-01-31"),
        ({"valid_from": "2020-02-01", "test_from": 5}, "must be before 'test_from'"),
        ({"valid_from": 1, "test_from": 2, "test_share": 0.2}, "or shares, not both"),
        ({"valid_share": 0.6, "test_share": 0.4}, "must leave something to train on"),
        ({"valid_share": 0}, "greater than 0"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_recipe(split="temporal", **options)


def test_a_recipe_that_is_written_out_is_the_same_recipe() -> None:
    import datetime

    dates = {"valid_from": datetime.date(2020, 2, 1), "test_from": 1583020800}
    recipe = make_recipe(split="temporal", **dates)
    written = dump(recipe)["data"]
    assert written["valid_from"] == "2020-02-01"
    assert dump(make_recipe(**written))["data"] == written


def test_movielens(real_data: Path, prepare: Prepare) -> None:
    path = str(real_data / "movielens-latest-small")
    done = prepare(source="movielens", path=path, split="temporal")
    counts = done.counts["split"]
    total = sum(counts[n] for n in SPLITS)
    assert 0.05 < counts["test"] / total < 0.15
    assert counts["cold_targets_test"] > 0
    cuts = counts["valid_from"], counts["test_from"]
    tables, expected = naive_data.temporal(done.filtered(), *cuts)
    assert counts == expected
    assert done.rows("split", "test") == tables["test"]
