"""The figures and curves of a log against plain Python."""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from naive_data import write_filtered

from recllm.data_prep.statistics.curves import (
    PERIODS,
    interactions_by_popularity,
    interactions_over_time,
    sequences_by_length,
)
from recllm.data_prep.statistics.entropy import approximate_entropy
from recllm.data_prep.statistics.figures import describe_log, read_log
from recllm.data_prep.tables import Connection, Table, session

Entry = tuple[str, int, int]

ENTRIES = st.lists(
    st.tuples(st.sampled_from("abcde"), st.integers(0, 300), st.integers(-2, 9)),
    min_size=1,
    max_size=250,
)
#: Few items, so that runs of them come again.
REPETITIVE = st.lists(
    st.tuples(st.sampled_from("abcde"), st.integers(0, 3), st.integers(0, 9)),
    min_size=1,
    max_size=60,
)
property_test = settings(
    max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@contextmanager
def logged(
    entries: Sequence[Entry], folder: Path, **columns: Any
) -> Iterator[tuple[Connection, Table]]:
    """A filtered log of (user, item, time), as the statistics read it."""
    log = [
        {"row": row, "user_id": user, "item": item, "timestamp": time}
        | {name: values[row] for name, values in columns.items()}
        for row, (user, item, time) in enumerate(entries)
    ]
    write_filtered(log, folder)
    with session() as con:
        yield con, read_log(con, folder)


def describe(folder: Path) -> dict[str, Any]:
    with session() as con:
        return describe_log(con, read_log(con, folder))


def naive(entries: list[Entry]) -> dict[str, Any]:
    """The figures, entry by entry."""
    owned: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for user, item, time in entries:
        owned[user].append((item, time))
    lengths = [len(own) for own in owned.values()]
    popularity = sorted(Counter(item for _, item, _ in entries).values())
    count, items = len(entries), len(popularity)
    differences = sum(abs(a - b) for a in popularity for b in popularity)
    at_once = Counter((user, time) for user, _, time in entries)
    quartiles = np.quantile(lengths, [0.25, 0.5, 0.75])
    return {
        "users": len(owned),
        "items": items,
        "interactions": count,
        "density": len({entry[:2] for entry in entries}) / (len(owned) * items),
        "lengths": {
            "min": min(lengths),
            "q25": quartiles[0],
            "median": quartiles[1],
            "q75": quartiles[2],
            "max": max(lengths),
            "mean": np.mean(lengths),
        },
        "repeat_rate": sum(len(o) - len({i for i, _ in o}) for o in owned.values()) / count,
        # half the relative mean difference of all pairs (Gini, 1912)
        "popularity_gini": differences / (2 * items * sum(popularity)),
        "top_1_percent_share": sum(popularity[-max(1, -(-items // 100)) :]) / count,
        "first_time": min(time for *_, time in entries),
        "last_time": max(time for *_, time in entries),
        "tied_interactions": sum(n for n in at_once.values() if n > 1),
        "duplicates": count - len(set(entries)),
    }


@property_test
@given(ENTRIES)
def test_figures_are_those_of_plain_python(tmp_path: Path, entries: list[Entry]) -> None:
    with logged(entries, tmp_path) as (con, log):
        found, expected = describe_log(con, log), naive(entries)
    assert found.pop("lengths") == pytest.approx(expected.pop("lengths"))
    assert found.pop("approximate_entropy").keys() == {
        "per_sequence_m1", "per_sequence_m2", "pooled_m1", "pooled_m2",
    }  # fmt: skip
    assert found == pytest.approx(expected)


def phi(sequences: Sequence[Sequence[Hashable]], length: int) -> float:
    """Pincus' Φ: each run compared with every run, itself included."""
    runs = [tuple(s[i : i + length]) for s in sequences for i in range(len(s) - length + 1)]
    if not runs:
        return 0.0
    alike = [sum(run == other for other in runs) / len(runs) for run in runs]
    return sum(math.log(share) for share in alike) / len(runs)


def naive_entropy(entries: Sequence[Entry]) -> dict[str, float]:
    """Approximate entropy by the definition, run by run."""
    owned: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row, (user, _, time) in enumerate(entries):
        owned[user].append((time, row))
    sequences = [[entries[row][1] for _, row in sorted(own)] for own in owned.values()]
    found = {}
    for m in (1, 2):
        each = [abs(phi([s], m) - phi([s], m + 1)) for s in sequences]
        found[f"per_sequence_m{m}"] = sum(each) / len(each)
        found[f"pooled_m{m}"] = phi(sequences, m) - phi(sequences, m + 1)
    return found


@property_test
@example([("a", 0, 0)])
@example([("a", 0, 0), ("a", 1, 1), ("b", 0, 0)])
@given(REPETITIVE)
def test_entropy_is_that_of_the_definition(tmp_path: Path, entries: list[Entry]) -> None:
    with logged(entries, tmp_path) as (con, log):
        found = approximate_entropy(con, log)
    assert found == pytest.approx(naive_entropy(entries), abs=1e-9)


def test_entropy_of_sequences_that_are_understood(tmp_path: Path) -> None:
    regular = [("a", time % 2, time) for time in range(400)]
    with logged(regular, tmp_path) as (con, log):
        found = approximate_entropy(con, log)
    assert all(abs(value) < 1e-4 for value in found.values())
    rng = np.random.default_rng(0)
    drawn = [("a", int(item), time) for time, item in enumerate(rng.integers(0, 4, 20_000))]
    with logged(drawn, tmp_path) as (con, log):
        found = approximate_entropy(con, log)
    # the next of four items is open whatever came before: ln 4
    assert all(value == pytest.approx(math.log(4), abs=0.01) for value in found.values())
    # nobody takes an item twice, but all take them in the same order
    alike = [(user, time, time) for user in "abcdefgh" for time in range(10)]
    with logged(alike, tmp_path) as (con, log):
        found = approximate_entropy(con, log)
    assert found["per_sequence_m1"] == pytest.approx(math.log(10 / 9))
    assert found["pooled_m1"] == pytest.approx(math.log(9 / 10))


def test_ready_made_sequences_are_what_is_long_and_what_repeats(tmp_path: Path) -> None:
    entries = [("a", 0, 1), ("a", 1, 2), ("a", 0, 1), ("a", 1, 2), ("a", 1, 3)]
    ready_made = {"sequence": [0, 0, 1, 1, 1], "history": [0, 1, 0, 1, 2]}
    with logged(entries, tmp_path, **ready_made) as (con, log):
        found = describe_log(con, log)
        lengths = sequences_by_length(log)
    assert (found["users"], found["lengths"]["min"], found["lengths"]["max"]) == (1, 2, 3)
    assert lengths == [[2, 1], [3, 1]]
    assert found["repeat_rate"] == pytest.approx(1 / 5)
    assert (found["tied_interactions"], found["duplicates"]) == (0, 0)
    apart = [("x", 0, 1), ("x", 1, 2), ("y", 0, 1), ("y", 1, 2), ("y", 1, 3)]
    assert found["approximate_entropy"] == pytest.approx(naive_entropy(apart))


def test_behaviours_are_counted(tmp_path: Path) -> None:
    behavior = ["view", "buy", "view", None]
    with logged([("a", i, i) for i in range(4)], tmp_path, behavior=behavior) as (con, log):
        assert describe_log(con, log)["behaviors"] == {"buy": 1, "none": 1, "view": 2}


@property_test
@given(ENTRIES)
def test_curves_count_everything_once(tmp_path: Path, entries: list[Entry]) -> None:
    with logged(entries, tmp_path) as (con, log):
        lengths, times = sequences_by_length(log), interactions_over_time(log)
        popularity = interactions_by_popularity(con, log)
    sizes = Counter(user for user, *_ in entries).values()
    assert sum(n for _, n in lengths) == len(sizes)
    assert_bars(lengths, sizes)
    assert_bars(times, [time for *_, time in entries])
    assert len(lengths) <= 31 and len(times) <= 61
    counts = sorted(Counter(item for _, item, _ in entries).values(), reverse=True)
    assert popularity[0] == [0, 0] and popularity[-1] == [1, 1]
    for share, taken in popularity:
        first = counts[: round(share * len(counts))]
        assert taken == pytest.approx(sum(first) / len(entries))


def assert_bars(bars: Sequence[Sequence[float]], values: Any) -> None:
    """Each bar has the values from its start to the next one's, the last all that are left."""
    starts = [start for start, _ in bars]
    assert len({b - a for a, b in itertools.pairwise(starts)}) <= 1
    for (start, count), end in zip(bars, [*starts[1:], math.inf], strict=True):
        assert count == sum(start <= value < end for value in values)


def test_a_few_long_sequences_share_the_last_bar(tmp_path: Path) -> None:
    lengths = [5] * 300 + [6] * 100 + [900, 1000]
    entries = [(f"u{u}", time, time) for u, size in enumerate(lengths) for time in range(size)]
    with logged(entries, tmp_path) as (_, log):
        assert sequences_by_length(log) == [[5, 300], [6, 100], [7, 2]]


@pytest.mark.parametrize("span", [10, 5000, 10**6, 10**8, 10**9, 10**13])
def test_time_is_cut_into_as_many_periods_as_can_be_drawn(tmp_path: Path, span: int) -> None:
    entries = [("a", n, 10**9 + n * span // 99) for n in range(100)]
    with logged(entries, tmp_path) as (_, log):
        bars = interactions_over_time(log)
    assert sum(n for _, n in bars) == 100
    assert_bars(bars, [time for *_, time in entries])
    assert len(bars) <= 61
    if len(bars) > 1 and span < 60 * PERIODS[-1]:
        assert bars[1][0] - bars[0][0] in PERIODS


def test_movielens(movielens: Any) -> None:
    found = describe(movielens.folders["filter"])
    assert (found["users"], found["items"], found["interactions"]) == (671, 9066, 100_004)
    assert found["lengths"]["min"] == 20 and found["repeat_rate"] == 0
    # nobody rates a film twice: a user's own sequence tells its length alone
    log = pq.read_table(movielens.folders["filter"] / "interactions.parquet")
    sizes = np.array(list(Counter(log["sequence"].to_pylist()).values()))
    entropy = found["approximate_entropy"]
    assert entropy["per_sequence_m2"] == pytest.approx(np.log((sizes - 1) / (sizes - 2)).mean())
    assert 0 < entropy["pooled_m1"] < math.log(9066)


@pytest.mark.slow
def test_flower_video_games(real_data: Path, prepare: Callable[..., Any]) -> None:
    path = str(real_data / "flower-video-games")
    done = prepare(source="chains", path=path, k_core=0, split="given")
    found = describe(done.folders["filter"])
    assert found["items"] == 3_858 and found["repeat_rate"] > 0
