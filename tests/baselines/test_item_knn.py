"""Item-based neighbours against naive loops, and on real data."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.baselines import item_knn, voting
from recllm.baselines.covisitation import CoVisitation
from recllm.baselines.item_knn import SCALE, ItemKnn, Neighbours
from recllm.catalog.histories import Spans
from recllm.metrics import compute

ITEMS = 7
LISTS = st.lists(st.integers(0, ITEMS - 1), max_size=8)
SEQUENCES = st.lists(LISTS, max_size=8)
ROWS = st.lists(st.tuples(LISTS, st.integers(0, ITEMS - 1)), min_size=1, max_size=6)


def naive_neighbours(
    sequences: list[list[int]], neighbours: int, shrinkage: float
) -> dict[int, dict[int, int]]:
    """For each item its nearest ones with their similarities, by the formula."""
    users = [{i for i, s in enumerate(sequences) if item in s} for item in range(ITEMS)]
    counts = Counter(item for sequence in sequences for item in sequence)
    found = {}
    for item in range(ITEMS):
        similarities = {}
        for other in range(ITEMS):
            both = len(users[item] & users[other])
            if other != item and both:
                damped = math.sqrt(len(users[item]) * len(users[other])) + shrinkage
                similarities[other] = round(both / damped * SCALE)
        order = sorted(similarities, key=lambda i: (-similarities[i], -counts[i], i))
        found[item] = {other: similarities[other] for other in order[:neighbours]}
    return found


def draw_rows(rows: list[tuple[list[int], int]]) -> tuple[Spans, np.ndarray]:
    targets = np.array([target for _, target in rows], dtype=np.int32)
    return Spans.from_lists(history for history, _ in rows), targets


@given(SEQUENCES, st.integers(1, ITEMS), st.sampled_from([0, 1, 10]), st.sampled_from([1, 5, 99]))
def test_neighbours_are_the_most_similar(
    sequences: list[list[int]], neighbours: int, shrinkage: float, pairs: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:  # any size of block finds the same
        patched.setattr(item_knn, "_PAIRS", pairs)
        found = Neighbours.find(Spans.from_lists(sequences), ITEMS, ITEMS, shrinkage)
    matrix = found.nearest(neighbours).toarray()
    expected = naive_neighbours(sequences, neighbours, shrinkage)
    for item in range(ITEMS):
        row = {other: int(matrix[item, other]) for other in np.flatnonzero(matrix[item]).tolist()}
        assert row == expected[item]
    fewer = Neighbours.find(Spans.from_lists(sequences), ITEMS, neighbours, shrinkage)
    assert np.array_equal(fewer.nearest(ITEMS).toarray(), matrix)


@given(SEQUENCES, ROWS, st.integers(1, 9), st.booleans(), st.integers(1, 4), st.integers(1, 3))
def test_scores_are_sums_of_similarities(  # noqa: PLR0917
    sequences: list[list[int]],
    rows: list[tuple[list[int], int]],
    beams: int,
    exclude: bool,
    last: int,
    neighbours: int,
) -> None:
    histories, targets = draw_rows(rows)
    found = Neighbours.find(Spans.from_lists(sequences), ITEMS, neighbours)
    model = ItemKnn(found.nearest(neighbours), found.counts, last)
    ranking = model.rank(histories, targets, beams, histories if exclude else None)
    near = naive_neighbours(sequences, neighbours, 0)
    counts = Counter(item for sequence in sequences for item in sequence)
    for i, (history, target) in enumerate(rows):
        votes = set(history[-last:])
        score = [sum(near[v].get(item, 0) for v in votes) for item in range(ITEMS)]
        eligible = [item for item in range(ITEMS) if not (exclude and item in history)]
        order = sorted(eligible, key=lambda item: (-score[item], -counts[item], item))[:beams]
        assert ranking.items[i].tolist() == order + [-1] * (beams - len(order))
        assert ranking.ranks[i] == (order.index(target) if target in order else -1)


@given(SEQUENCES, ROWS, st.booleans(), st.booleans(), st.integers(1, 4))
def test_ranks_of_targets_alone(
    sequences: list[list[int]],
    rows: list[tuple[list[int], int]],
    exclude: bool,
    by_neighbours: bool,
    at_a_time: int,
) -> None:
    histories, targets = draw_rows(rows)
    excluded = histories if exclude else None
    found = Neighbours.find(Spans.from_lists(sequences), ITEMS, 2)
    model = (
        ItemKnn(found.nearest(2), found.counts, 3)
        if by_neighbours
        else CoVisitation.fit(Spans.from_lists(sequences), ITEMS)
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(voting, "_ROWS", at_a_time)
        ranks = model.ask(histories).target_ranks(targets, excluded)
    assert ranks.tolist() == model.rank(histories, targets, ITEMS, excluded).ranks.tolist()


@pytest.mark.slow
def test_beauty(real_data: Path) -> None:
    """Leave-one-out, history excluded: below co-visitation, several times popularity."""
    from pyarrow import csv

    table = csv.read_csv(real_data / "amazon14-beauty" / "interactions.csv.gz")
    table = table.sort_by([("user_id", "ascending"), ("position", "ascending")])
    users = table["user_id"].to_numpy()
    items = table["item_id"].to_numpy().astype(np.int32)
    ends = np.append(np.flatnonzero(np.diff(users)) + 1, len(users))
    starts = np.append(0, ends[:-1])
    histories, targets = Spans(items, starts, ends - 1), items[ends - 1]
    found = Neighbours.find(Spans(items, starts, ends - 2), 12101, 100, 10)
    model = ItemKnn(found.nearest(100), found.counts, 3)
    ranks = model.ask(histories).target_ranks(targets, histories)
    assert compute("hit@10", ranks).mean() == pytest.approx(0.0692, abs=1e-4)
    assert compute("ndcg@10", ranks).mean() == pytest.approx(0.0410, abs=1e-4)
