"""Popularity, repeats, co-visitation and neighbours against naive loops, and on real data."""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.baselines import ranking
from recllm.baselines.covisitation import CoVisitation
from recllm.baselines.popularity import Popularity
from recllm.baselines.ranking import BaselineRanking
from recllm.baselines.recent_repeat import RecentRepeat
from recllm.catalog.histories import Spans
from recllm.metrics import compute

ITEMS = 7
SEQUENCES = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=8), max_size=8)
ROWS = st.lists(
    st.tuples(
        st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=6), st.integers(0, ITEMS - 1)
    ),
    min_size=1,
    max_size=6,
)


def naive_covisitation(
    sequences: list[list[int]], history: list[int], symmetric: bool
) -> list[Fraction]:
    weights: dict[tuple[int, int], Fraction] = {}
    for sequence in sequences:
        for i, a in enumerate(sequence):
            for distance in (1, 2, 3):
                if i + distance < len(sequence):
                    b = sequence[i + distance]
                    for pair in [(a, b), (b, a)] if symmetric else [(a, b)]:
                        weights[pair] = weights.get(pair, Fraction(0)) + Fraction(1, distance)
    scores = [Fraction(0)] * ITEMS
    for j, item in enumerate(reversed(history[-3:]), start=1):
        for candidate in range(ITEMS):
            scores[candidate] += Fraction(1, j) * weights.get((item, candidate), Fraction(0))
    return scores


def check(
    found: BaselineRanking,
    rows: list[tuple[list[int], int]],
    key: Callable[[list[int], int], tuple],
    beams: int,
    exclude: bool,
) -> None:
    """The ranking must be that of sorting each row's eligible items by `key`."""
    for i, (history, target) in enumerate(rows):
        eligible = [x for x in range(ITEMS) if not (exclude and x in history)]
        order = sorted(eligible, key=lambda x: key(history, x))[:beams]
        assert found.items[i].tolist() == order + [-1] * (beams - len(order))
        assert found.ranks[i] == (order.index(target) if target in order else -1)


@given(SEQUENCES, ROWS, st.integers(1, 9), st.booleans())
def test_popularity(
    sequences: list[list[int]], rows: list[tuple[list[int], int]], beams: int, exclude: bool
) -> None:
    counts = Counter(item for sequence in sequences for item in sequence)
    histories = Spans.from_lists(history for history, _ in rows)
    targets = np.array([target for _, target in rows], dtype=np.int32)
    model = Popularity.fit(Spans.from_lists(sequences), ITEMS)
    found = model.rank(histories, targets, beams, histories if exclude else None)
    check(found, rows, lambda _, item: (-counts[item], item), beams, exclude)


@given(SEQUENCES, ROWS, st.integers(1, 9))
def test_recent_repeat(
    sequences: list[list[int]], rows: list[tuple[list[int], int]], beams: int
) -> None:
    counts = Counter(item for sequence in sequences for item in sequence)
    histories = Spans.from_lists(history for history, _ in rows)
    targets = np.array([target for _, target in rows], dtype=np.int32)
    model = RecentRepeat.fit(Spans.from_lists(sequences), ITEMS)

    def key(history: list[int], item: int) -> tuple:
        if item in history:
            return (0, history[::-1].index(item))
        return (1, -counts[item], item)

    check(model.rank(histories, targets, beams), rows, key, beams, exclude=False)


@given(SEQUENCES, ROWS, st.integers(1, 9), st.booleans(), st.booleans())
def test_covisitation(
    sequences: list[list[int]],
    rows: list[tuple[list[int], int]],
    beams: int,
    exclude: bool,
    symmetric: bool,
) -> None:
    counts = Counter(item for sequence in sequences for item in sequence)
    histories = Spans.from_lists(history for history, _ in rows)
    targets = np.array([target for _, target in rows], dtype=np.int32)
    model = CoVisitation.fit(Spans.from_lists(sequences), ITEMS, symmetric)
    found = model.rank(histories, targets, beams, histories if exclude else None)

    def key(history: list[int], item: int) -> tuple:
        score = naive_covisitation(sequences, history, symmetric)[item]
        return (-score, -counts[item], item)

    check(found, rows, key, beams, exclude)


@given(SEQUENCES, ROWS, st.sets(st.integers(0, ITEMS - 1)), st.booleans(), st.integers(1, 9))
def test_only_some_items(
    sequences: list[list[int]],
    rows: list[tuple[list[int], int]],
    allowed: set[int],
    exclude: bool,
    beams: int,
) -> None:
    histories = Spans.from_lists(history for history, _ in rows)
    targets = np.array([target for _, target in rows], dtype=np.int32)
    # the first row may have its target, the others may not
    only = Spans.from_lists([allowed | {int(targets[0])}] + [allowed] * (len(rows) - 1))
    model = CoVisitation.fit(Spans.from_lists(sequences), ITEMS)
    excluded = histories if exclude else None
    whole = model.rank(histories, targets, ITEMS, excluded)
    found = model.rank(histories, targets, beams, excluded, only)
    for i, may in enumerate(only):
        left = [item for item in whole.items[i].tolist() if item in may][:beams]
        assert found.items[i].tolist() == left + [-1] * (beams - len(left))
        assert found.ranks[i] == (left.index(targets[i]) if targets[i] in left else -1)


def test_chunks_do_not_change_the_ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sequences = Spans.from_lists(rng.integers(0, 30, 12).tolist() for _ in range(40))
    targets = rng.integers(0, 30, 40).astype(np.int32)
    model = CoVisitation.fit(sequences, 30)
    whole = model.rank(sequences, targets, 5, sequences)
    monkeypatch.setattr(ranking, "_CELLS", 7 * 30)
    chunked = model.rank(sequences, targets, 5, sequences)
    assert np.array_equal(whole.ranks, chunked.ranks)
    assert np.array_equal(whole.items, chunked.items)


@pytest.mark.slow
def test_beauty(real_data: Path) -> None:
    """Leave-one-out, history excluded; the figures agree with a separate dense computation."""
    from pyarrow import csv

    table = csv.read_csv(real_data / "amazon14-beauty" / "interactions.csv.gz")
    table = table.sort_by([("user_id", "ascending"), ("position", "ascending")])
    users = table["user_id"].to_numpy()
    items = table["item_id"].to_numpy().astype(np.int32)
    ends = np.append(np.flatnonzero(np.diff(users)) + 1, len(users))
    starts = np.append(0, ends[:-1])
    histories, targets = Spans(items, starts, ends - 1), items[ends - 1]
    assert len(targets) == 22363
    expected = {2: (0.0809, 0.0506), 1: (0.0921, 0.0581)}  # left out at the end: hit, ndcg
    for held_out, (hit, ndcg) in expected.items():
        model = CoVisitation.fit(Spans(items, starts, ends - held_out), 12101)
        ranks = model.rank(histories, targets, 10, histories).ranks
        assert compute("hit@10", ranks).mean() == pytest.approx(hit, abs=1e-4)
        assert compute("ndcg@10", ranks).mean() == pytest.approx(ndcg, abs=1e-4)
