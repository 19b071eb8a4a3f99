"""The global temporal split against plain Python, and what it refuses."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recllm.catalog.histories import Sequences, SplitRows, read_times
from recllm.config.schema import DataSection
from recllm.config.validation import dump
from recllm.data_prep.splits.temporal import Temporal
from recllm.errors import UserError
from recllm.prompts.leaks import check_leaks

from .conftest import FEW, make_recipe, run_split

Write = Callable[[str, str], Path]
Prepare = Callable[..., Any]
Log = list[dict[str, Any]]
SPLITS = ("train", "valid", "test")


def divide(
    split: Temporal, log: Log, folder: Path, data: DataSection | None = None
) -> tuple[dict[str, Log], dict[str, int]]:
    """Run the split over a filtered log."""
    types = [pa.int64(), pa.string(), pa.int32(), pa.int64()]
    schema = pa.schema(list(zip(("row", "user_id", "item", "timestamp"), types, strict=True)))
    pq.write_table(pa.Table.from_pylist(log, schema), folder / "interactions.parquet")
    counts = run_split(split, folder, data)
    tables = {n: pq.read_table(folder / f"{n}.parquet") for n in ("sequences", *SPLITS)}
    return {name: table.to_pylist() for name, table in tables.items()}, counts


def naive(log: Log, valid_from: int, test_from: int) -> tuple[dict[str, Log], dict[str, int]]:
    """The same, row by row."""

    def part_of(entry: dict[str, Any]) -> str:
        time = entry["timestamp"]
        return "train" if time < valid_from else "valid" if time < test_from else "test"

    users: dict[str, Log] = defaultdict(list)
    for entry in sorted(log, key=lambda r: (r["user_id"], r["timestamp"], r["row"])):
        users[entry["user_id"]].append(entry)
    tables: dict[str, Log] = {name: [] for name in ("sequences", *SPLITS)}
    trained = [entry for entry in log if part_of(entry) == "train"]
    warm = {entry["item"] for entry in trained}
    counts = {"valid_without_history": 0, "test_without_history": 0}
    for sequence, (user, own) in enumerate(users.items()):
        tables["sequences"].append(
            {
                "sequence": sequence,
                "user_id": user,
                "items": [e["item"] for e in own],
                "rows": [e["row"] for e in own],
                "train_end": sum(part_of(e) == "train" for e in own),
            }
        )
        for end, entry in enumerate(own):
            part = part_of(entry)
            if end:
                target = {"row": entry["row"], "user_id": user, "sequence": sequence}
                tables[part].append(target | {"start": 0, "end": end, "target": entry["item"]})
            elif part != "train":
                counts[f"{part}_without_history"] += 1
    return tables, counts | {
        "sequences": len(users),
        "cold_items": len({e["item"] for e in log} - warm),
        "cold_users": len(users.keys() - {e["user_id"] for e in trained}),
        "cold_targets_valid": sum(r["target"] not in warm for r in tables["valid"]),
        "cold_targets_test": sum(r["target"] not in warm for r in tables["test"]),
        **{name: len(tables[name]) for name in SPLITS},
        "valid_from": valid_from,
        "test_from": test_from,
    }


LOGS = st.lists(
    st.tuples(st.sampled_from(["a", "B", "é", "10", "9"]), st.integers(0, 6), st.integers(-3, 12)),
    min_size=2,
    max_size=40,
).map(
    lambda entries: [
        {"row": 3 * row, "user_id": user, "item": item, "timestamp": time}
        for row, (user, item, time) in enumerate(entries)
    ]
)


SHARES = st.sampled_from([(0.1, 0.1), (0.3, 0.25), (0.05, 0.6)])


def assert_shares(
    folder: Path, log: Log, shares: tuple[float, float], data: DataSection | None = None
) -> None:
    times = sorted(entry["timestamp"] for entry in log)
    wanted = [max(1, round(len(log) * share)) for share in (sum(shares), shares[1])]
    cuts = [times[len(times) - later] for later in wanted]
    split = Temporal(valid_share=shares[0], test_share=shares[1])
    assert divide(split, log, folder, data) == naive(log, *cuts)
    # equal times stay together, so that a side can only grow
    for cut, least in zip(cuts, wanted, strict=True):
        assert sum(time >= cut for time in times) >= least


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LOGS, SHARES)
def test_shares_are_those_of_plain_python(
    tmp_path: Path, log: Log, shares: tuple[float, float]
) -> None:
    assert_shares(tmp_path, log, shares)


@FEW
@given(LOGS, SHARES)
def test_shares_on_spark(
    spark: DataSection, tmp_path: Path, log: Log, shares: tuple[float, float]
) -> None:
    assert_shares(tmp_path, log, shares, spark)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LOGS, st.integers(-3, 12), st.integers(1, 12))
def test_times_are_those_of_plain_python(tmp_path: Path, log: Log, cut: int, later: int) -> None:
    times = [entry["timestamp"] for entry in log]
    split = Temporal(valid_from=cut, test_from=cut + later)
    if min(times) < cut and cut + later <= max(times):
        assert divide(split, log, tmp_path) == naive(log, cut, cut + later)
        sequences = Sequences.read(tmp_path)
        rows = {name: SplitRows.read(tmp_path, name, sequences) for name in SPLITS}
        check_leaks(sequences, rows, read_times(tmp_path, sequences.rows))
    else:
        with pytest.raises(UserError, match="but the log goes from"):
            divide(split, log, tmp_path)


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
    tables, expected = naive(
        done.rows("filter", "interactions"), counts["valid_from"], counts["test_from"]
    )
    assert counts == expected
    assert done.rows("split", "test") == tables["test"]
