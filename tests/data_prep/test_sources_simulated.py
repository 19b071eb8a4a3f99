"""The simulated log: the same for the same seed, readable, with structure that can be learned."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recllm.data_prep.sources import simulated
from recllm.data_prep.sources._simulated_users import (
    ATTEMPTS,
    COMPANION_SHARE,
    INTEREST_WEIGHTS,
    SEQUEL_SHARE,
    Population,
)
from recllm.data_prep.sources._simulated_world import CATEGORIES, World, build_world
from recllm.data_prep.sources.simulated import Simulated

from .conftest import run_source

SMALL = {"users": 200, "items": 90, "interactions_per_user": 7}


def ingested(folder: Path, **options: float) -> tuple[pa.Table, pa.Table]:
    folder.mkdir()
    run_source(Simulated.model_validate({**SMALL, **options}), folder)
    return pq.read_table(folder / "interactions.parquet"), pq.read_table(folder / "items.parquet")


def small_world(items: int = 90) -> World:
    return build_world(items, np.random.default_rng(3))


def test_seed_and_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, items = ingested(tmp_path / "a")
    other, _ = ingested(tmp_path / "b", simulation_seed=1)
    assert not log.equals(other)
    monkeypatch.setattr(simulated, "CHUNK_USERS", 7)
    monkeypatch.setattr(simulated, "ORACLE_CELLS", 90 * 13)
    chunked, same_items = ingested(tmp_path / "c")
    assert chunked.equals(log) and same_items.equals(items)
    assert Simulated.model_validate(SMALL).oracle_hit_rate() == pytest.approx(
        Simulated.model_validate(SMALL).oracle_hit_rate(users=200)
    )


def test_more_users_leave_those_there_are_as_they_were(tmp_path: Path) -> None:
    few, _ = ingested(tmp_path / "few", users=150)
    many, _ = ingested(tmp_path / "many", users=200)
    assert many.slice(0, few.num_rows).equals(few)


def test_ratings_are_of_users_and_items_and_tell_nothing_of_popularity(tmp_path: Path) -> None:
    log, _ = ingested(tmp_path / "log", users=3000)
    ratings, items = log["rating"].to_numpy(), np.array(log["item_id"].to_pylist())
    assert set(ratings) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert 0.4 < (ratings > 3).mean() < 0.65
    names, item, count = np.unique(items, return_inverse=True, return_counts=True)
    assert len(names) == 90
    quality = np.bincount(item, weights=ratings) / count
    _, user = np.unique(log["user_id"].to_pylist(), return_inverse=True)
    generous = np.bincount(user, weights=ratings) / np.bincount(user)
    assert quality.std() > 0.3 and generous.std() > 0.7
    assert abs(np.corrcoef(quality, count)[0, 1]) < 0.3


def test_sizes_and_times(tmp_path: Path) -> None:
    log, items = ingested(tmp_path / "log", users=3000)
    lengths = Counter(log["user_id"].to_pylist())
    assert (len(lengths), items.num_rows) == (3000, 90)
    assert np.mean(list(lengths.values())) == pytest.approx(7, rel=0.05)
    assert min(lengths.values()) == 3
    times, users = log["timestamp"].to_numpy(), log["user_id"].to_numpy()
    assert (np.diff(times)[users[1:] == users[:-1]] >= 0).all()


def test_text_is_readable_and_titles_differ() -> None:
    items = build_world(60_000, np.random.default_rng(0)).table().to_pydict()
    assert len(set(items["title"])) == len(set(items["item_id"])) == 60_000
    assert set(items["categories"]) == set(CATEGORIES)
    second = next(i for i, title in enumerate(items["title"]) if title.endswith(", Volume 2"))
    assert items["title"][second - 1] == items["title"][second].replace("Volume 2", "Volume 1")
    assert items["description"][second].endswith("continued from volume 1.")


def test_the_catalogue_is_consistent() -> None:
    world = small_world()
    assert np.add.reduceat(world.popularity, world.first_item[:-1]) == pytest.approx(1)
    assert world.category_share.sum() == pytest.approx(1)
    has = world.sequel >= 0
    assert has.any() and not has.all()
    assert (world.volume[world.sequel[has]] == world.volume[has] + 1).all()
    for links in (world.series, world.category):
        assert (links[world.sequel[has]] == links[has]).all()
    companions = world.companion[world.companion >= 0]
    assert len(set(companions.tolist())) == len(companions)
    assert (world.companion != np.arange(world.items)).all()


def naive_probabilities(world: World, history: list[int], interests: list[int]) -> np.ndarray:
    """The formula of the module, item by item."""
    last, rest = history[-1], 1.0
    base = np.zeros(world.items)
    for target, share in ((world.sequel, SEQUEL_SHARE), (world.companion, COMPANION_SHARE)):
        if target[last] >= 0:
            base[target[last]] += share
            rest -= share
    for item in range(world.items):
        for interest, weight in zip(interests, INTEREST_WEIGHTS, strict=True):
            if world.category[item] == interest:
                base[item] += rest * weight * world.popularity[item]
    again = sum(base[item] for item in set(history))
    result = base * sum(again**attempt for attempt in range(ATTEMPTS))
    for item in set(history):
        result[item] = base[item] * again ** (ATTEMPTS - 1)
    return result


def test_the_oracle_s_probabilities_are_those_of_the_formula() -> None:
    world = small_world()
    population = Population(world, 7, seed=0)
    rng = np.random.default_rng(5)
    history = rng.integers(0, 90, (40, 6)).astype(np.int32)
    history[:10, :3] = -1
    interests = rng.integers(0, world.categories, (40, 2))
    found = population.next_item_probabilities(history, interests)
    assert found.sum(axis=1) == pytest.approx(1)
    for row in range(40):
        past = [i for i in history[row].tolist() if i >= 0]
        expected = naive_probabilities(world, past, interests[row].tolist())
        assert found[row] == pytest.approx(expected)


def test_users_choose_with_the_oracle_s_probabilities() -> None:
    world = small_world(30)
    population = Population(world, 5, seed=2)
    history = np.tile(np.array([[int(np.flatnonzero(world.sequel >= 0)[0]), 7]]), (60_000, 1))
    history[:, [0, 1]] = history[:, [1, 0]]
    interests = np.zeros((60_000, 2), dtype=np.int64)
    history = history.astype(np.int32)
    uniform = np.random.default_rng(0).random((60_000, 4 * ATTEMPTS))
    chosen = population._choose(history, interests, uniform)
    expected = population.next_item_probabilities(history[:1], interests[:1])[0]
    assert np.bincount(chosen, minlength=30) / 60_000 == pytest.approx(expected, abs=0.01)


def test_structure_beats_popularity(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = Simulated()
    with caplog.at_level("INFO"):
        run_source(source, tmp_path)
    assert "oracle's hit@10 is 0." in caplog.text
    assert 0.5 < source.oracle_hit_rate(10) < 0.7
    assert source.oracle_hit_rate(1) < source.oracle_hit_rate(10) < source.oracle_hit_rate(50)
    log = pq.read_table(tmp_path / "interactions.parquet").to_pydict()
    last = dict(zip(log["user_id"], log["item_id"], strict=True))
    popular = {item for item, _ in Counter(log["item_id"]).most_common(10)}
    assert 0.05 < np.mean([item in popular for item in last.values()]) < 0.1


def test_the_default_log_keeps_its_size_under_the_core(prepare) -> None:
    done = prepare("split", source="simulated")
    assert done.counts["filter"]["items"] >= 500
    assert done.counts["split"]["test"] >= 2000
    assert 8 < done.counts["filter"]["interactions"] / done.counts["filter"]["users"] < 13


@pytest.mark.slow
def test_a_million_interactions_are_streamed(tmp_path: Path) -> None:
    counts = run_source(Simulated(users=100_000, items=20_000), tmp_path)
    assert counts["interactions"] == pytest.approx(1_000_000, rel=0.02)
    file = pq.ParquetFile(tmp_path / "interactions.parquet")
    assert file.metadata.num_row_groups > 10
