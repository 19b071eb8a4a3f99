"""hit, ndcg and mrr against loops over the formulas, and against ranx."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.errors import UserError
from recllm.metrics import compute, hit, mrr, ndcg, parse, rank_metrics, ranks_of

RANKS = st.lists(st.integers(-1, 60), min_size=1, max_size=30)
CUTOFFS = st.integers(1, 50)


@given(RANKS, CUTOFFS)
def test_formulas(ranks: list[int], k: int) -> None:
    array = np.array(ranks, dtype=np.int32)
    inside = [0 <= rank < k for rank in ranks]
    assert hit(array, k).tolist() == [float(i) for i in inside]
    gains = [1 / math.log2(r + 2) if i else 0.0 for r, i in zip(ranks, inside, strict=True)]
    assert ndcg(array, k) == pytest.approx(gains, abs=1e-12)
    reciprocal = [1 / (r + 1) if i else 0.0 for r, i in zip(ranks, inside, strict=True)]
    assert mrr(array, k) == pytest.approx(reciprocal, abs=1e-12)


@pytest.mark.parametrize("name", sorted(rank_metrics()))
def test_every_metric_is_best_at_the_top_falls_with_the_rank_and_is_zero_for_a_miss(
    name: str,
) -> None:
    values = rank_metrics()[name].per_row(np.array([*range(10), 10, -1]), 10)
    assert values.shape == (12,) and values.dtype == np.float64
    assert values[0] == 1.0
    assert (np.diff(values[:10]) <= 0).all() and (values[:10] > 0).all()
    assert values[10:].tolist() == [0.0, 0.0]


def test_compute_takes_names() -> None:
    ranks = np.array([0, 9, 10, -1])
    assert compute("hit@10", ranks).tolist() == [1, 1, 0, 0]
    assert compute("mrr@50", ranks).tolist() == [1, 1 / 10, 1 / 11, 0]
    assert parse("ndcg@5")[1] == 5


@pytest.mark.parametrize("name", ["hit", "hit@", "hit@0", "hit@ten", "@10"])
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(UserError):
        parse(name)


def test_a_misspelt_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'ndcg'"):
        parse("ndgc@10")


def test_ranks_of() -> None:
    items = np.array([[4, 2, 7], [1, -1, -1], [-1, -1, -1]])
    assert ranks_of(items, np.array([7, 0, 0])).tolist() == [2, -1, -1]


#: Reads targets and lists, prints ranx's means. A process of its own, where numba does not compile:
#: that would take minutes for a few hundred rows.
RANX = """
import json, sys
from ranx import Qrels, Run, evaluate
targets, lists, names = json.load(sys.stdin)
qrels = Qrels({f"q{i}": {f"d{t}": 1} for i, t in enumerate(targets)})
run = Run({f"q{i}": {f"d{x}": float(-p) for p, x in enumerate(r)} for i, r in enumerate(lists)})
print(json.dumps({name: float(value) for name, value in evaluate(qrels, run, names).items()}))
"""


@pytest.mark.slow
def test_agrees_with_ranx() -> None:
    rng = np.random.default_rng(0)
    lists = np.stack([rng.permutation(40)[:20] for _ in range(200)])
    targets = rng.integers(0, 40, 200)
    names = {"hit_rate@10": "hit@10", "ndcg@10": "ndcg@10", "ndcg@5": "ndcg@5", "mrr@20": "mrr@20"}
    done = subprocess.run(
        [sys.executable, "-c", RANX],
        input=json.dumps([targets.tolist(), lists.tolist(), list(names)]),
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(done.stdout.splitlines()[-1])
    ranks = ranks_of(lists, targets)
    for their_name, name in names.items():
        assert theirs[their_name] == pytest.approx(compute(name, ranks).mean(), abs=1e-9)
