"""The figures of a log against plain Python."""

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recllm.data_prep.statistics import describe_log

Entry = tuple[str, int, int]


def describe(entries: list[Entry], folder: Path, **columns: Any) -> dict[str, Any]:
    """The figures of a filtered log of (user, item, time)."""
    users, items, times = zip(*entries, strict=True)
    table = {
        "row": pa.array(range(len(entries)), pa.int64()),
        "user_id": pa.array(users, pa.string()),
        "item": pa.array(items, pa.int32()),
        "timestamp": pa.array(times, pa.int64()),
    }
    pq.write_table(pa.table(table | columns), folder / "interactions.parquet")
    return describe_log(folder)


def naive(entries: list[Entry]) -> dict[str, Any]:
    """The same, entry by entry."""
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


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.integers(0, 300), st.integers(-2, 9)),
        min_size=1,
        max_size=250,
    )
)
def test_is_that_of_plain_python(tmp_path: Path, entries: list[Entry]) -> None:
    found, expected = describe(entries, tmp_path), naive(entries)
    assert found.pop("lengths") == pytest.approx(expected.pop("lengths"))
    assert found == pytest.approx(expected)


def test_ready_made_sequences_are_what_is_long_and_what_repeats(tmp_path: Path) -> None:
    entries = [("a", 0, 1), ("a", 1, 2), ("a", 0, 1), ("a", 1, 2), ("a", 1, 3)]
    sequence = pa.array([0, 0, 1, 1, 1], pa.int64())
    found = describe(entries, tmp_path, sequence=sequence)
    assert (found["users"], found["lengths"]["min"], found["lengths"]["max"]) == (1, 2, 3)
    assert found["repeat_rate"] == pytest.approx(1 / 5)
    assert (found["tied_interactions"], found["duplicates"]) == (0, 0)


def test_movielens(movielens: Any) -> None:
    found = describe_log(movielens.folders["filter"])
    assert (found["users"], found["items"], found["interactions"]) == (671, 9066, 100_004)
    assert found["lengths"]["min"] == 20 and found["repeat_rate"] == 0


@pytest.mark.slow
def test_flower_video_games(real_data: Path, prepare: Callable[..., Any]) -> None:
    path = str(real_data / "flower-video-games")
    done = prepare(source="chains", path=path, k_core=0, split="given")
    found = describe_log(done.folders["filter"])
    assert found["items"] == 3_858 and found["repeat_rate"] > 0
