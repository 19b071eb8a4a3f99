"""What prefixes have in common, against every pair counted one by one."""

from itertools import combinations, pairwise

import numpy as np
import pyarrow as pa
import pytest
from catalogues import make_input
from hypothesis import given
from hypothesis import strategies as st

from recllm.catalog.histories import Spans
from recllm.catalog.sids import SidIndex, TitleIndex
from recllm.config.schema import HealthSection
from recllm.data_prep.quantizers import Indexing
from recllm.data_prep.quantizers.random import Random
from recllm.data_prep.sid_health import check_health, measure_health, usage_curve
from recllm.data_prep.sid_prefixes import (
    AgainstChance,
    covisited_pairs,
    measure_prefixes,
    share_category,
    share_prefix,
)
from recllm.errors import UserError


@given(st.data())
def test_categories_of_pairs(data: st.DataObject) -> None:
    items = data.draw(st.integers(1, 12))
    numbers = st.lists(st.integers(0, 3), min_size=items, max_size=items)
    group = data.draw(numbers)
    category = [number - 1 for number in data.draw(numbers)]
    known = [i for i in range(items) if category[i] >= 0]
    pairs = list(combinations(known, 2))
    within = [(i, j) for i, j in pairs if group[i] == group[j]]
    found = share_category(np.array(group), np.array(category))
    if not within:
        assert found is None
        return
    assert found is not None
    assert found.found == pytest.approx(np.mean([category[i] == category[j] for i, j in within]))
    assert found.chance == pytest.approx(np.mean([category[i] == category[j] for i, j in pairs]))


@given(st.data())
def test_prefixes_of_neighbours(data: st.DataObject) -> None:
    items = data.draw(st.integers(2, 6))
    group = data.draw(st.lists(st.integers(0, 2), min_size=items, max_size=items))
    item = st.integers(0, items - 1)
    sequences = data.draw(st.lists(st.lists(item, max_size=6), max_size=4))
    pairs = [(a, b) for sequence in sequences for a, b in pairwise(sequence) if a != b]
    first, second = covisited_pairs(Spans.from_lists(sequences))
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == pairs
    drawn = [(a, b) for a, _ in pairs for _, b in pairs if a != b]
    found = share_prefix(np.array(group), first, second)
    if not drawn:
        assert found is None
        return
    assert found is not None
    assert found.found == pytest.approx(np.mean([group[a] == group[b] for a, b in pairs]))
    assert found.chance == pytest.approx(np.mean([group[a] == group[b] for a, b in drawn]))


def test_prefixes_of_each_length() -> None:
    codes = np.array([[0, 0, 1], [0, 0, -1], [0, 1, -1], [1, 0, 0]], dtype=np.int32)
    sequences = Spans.from_lists([[0, 1], [2, 3]])
    found = measure_prefixes(codes, sequences, ["x", "x", "y", None])
    assert [entry.prefixes for entry in found] == [2, 3]
    assert found[0].same_category == AgainstChance(1 / 3, 1 / 3)
    assert found[1].same_category == AgainstChance(1.0, 1 / 3)
    assert found[0].covisited == AgainstChance(0.5, 0.5)  # 0-1, 0-3, 2-1, 2-3: two of four
    assert found[1].covisited == AgainstChance(0.5, 0.25)
    assert measure_prefixes(codes[:, :1], sequences, None) == []


def test_random_sids_are_at_chance_and_clusters_above() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 600, (2000, 1))
    sequences = ((first + rng.integers(0, 12, (2000, 6))) % 600).tolist()
    given_items = make_input(600, sequences, levels=2, codes=256)
    categories = [str(item // 60) for item in range(600)]
    health = measure_health(Random().index(given_items), given_items.sequences, categories)
    for against in (health.prefixes[0].same_category, health.prefixes[0].covisited):
        assert against is not None and against.lift == pytest.approx(1, abs=0.15)
    codes = np.stack([np.arange(600) // 25, np.arange(600) % 25], axis=1).astype(np.int32)
    runs = Indexing(SidIndex(given_items.items.ids, codes, 25))
    health = measure_health(runs, given_items.sequences, categories)
    for against in (health.prefixes[0].same_category, health.prefixes[0].covisited):
        assert against is not None and against.lift is not None and against.lift > 8


@pytest.mark.parametrize("key", ["min_category_lift", "min_covisit_lift"])
def test_limits_on_what_prefixes_say(key: str) -> None:
    codes = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.int32)
    sequences = Spans.from_lists([[0, 1], [2, 3]])
    indexing = Indexing(SidIndex(list("wxyz"), codes, 2))
    health = measure_health(indexing, sequences, ["x", "x", "y", "y"])
    lift = 3 if key == "min_category_lift" else 2
    check_health(health, HealthSection(**{key: lift}))
    with pytest.raises(UserError, match=rf"{lift}.00 times as often as by chance, below .*{key}"):
        check_health(health, HealthSection(**{key: lift + 0.1}))


def test_curves() -> None:
    assert usage_curve(np.array([0, 3, 1])) == [[0, 0], [0.3333, 0.75], [0.6667, 1], [1, 1]]
    assert usage_curve(np.zeros(3)) == []
    assert len(usage_curve(np.ones(1000))) == 51


def test_sids_of_different_lengths() -> None:
    codes = np.array([[0, 2], [1, -1], [0, 1]], dtype=np.int32)
    index = SidIndex(list("xyz"), codes, (2, 3))
    health = measure_health(Indexing(index), Spans.from_lists([[0, 1, 2]]))
    assert [(level.codes, level.used) for level in health.levels] == [(2, 2), (3, 2)]
    assert [level.utilisation for level in health.levels] == [1, 1]  # two items have a second code
    assert health.collision_rate == health.sharing_rate == 0
    assert health.resolution_cost is None and health.mse_before is None
    check_health(health, HealthSection())


def test_titles_have_no_levels(tmp_path) -> None:
    index = TitleIndex(list("xyz"), ["A", "B", "A (2)"])
    proposed = np.array([[0], [1], [0]], dtype=np.int32)
    sequences = Spans.from_lists([[0, 1], [1]])
    health = measure_health(Indexing(index, proposed, moved=1), sequences, ["c", "c", None])
    assert health.levels == health.prefixes == health.items_by_code == []
    assert health.fullest_prefix_traffic is None
    assert health.collision_rate == pytest.approx(2 / 3) and health.sharing_rate == 0
    assert health.traffic_collision_rate == pytest.approx(1 / 3)
    check_health(health, HealthSection())
    health.write(tmp_path / "health.json")


def test_items_that_share_a_sid_in_the_end_are_told() -> None:
    codes = np.array([[0, 0], [1, 0], [0, 0]], dtype=np.int32)
    table = pa.table({"item_id": list("xyz")})
    given_items = make_input(table, [[0, 1]])
    index = SidIndex(given_items.items.ids, codes, 2)
    health = measure_health(Indexing(index, codes), given_items.sequences)
    assert health.sharing_rate == health.collision_rate == pytest.approx(2 / 3)
    assert health.distinct_before == 2
