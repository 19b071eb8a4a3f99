"""Checkpoints compared: seeds grouped, all pairs on the same rows, corrected for their number."""

import numpy as np
import pytest

from recllm.eval.comparison import Origin, compare, group_seeds
from recllm.eval.estimates import Bootstrap
from recllm.metrics import compute

METRICS = ("hit@10", "ndcg@10")
ROWS = 600
USERS = np.repeat(np.arange(ROWS // 2), 2)
BOOTSTRAP = Bootstrap(300, 0)


def ranks(hit_rate: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    place = rng.integers(0, 10, ROWS)
    return np.where(rng.random(ROWS) < hit_rate, place, -1).astype(np.int32)


def test_runs_of_one_recipe_are_grouped_and_a_seed_counts_once() -> None:
    found = {name: ranks(0.2, number) for number, name in enumerate("abcde")}
    origins = {
        "a": Origin("x", 0), "b": Origin("y", 0), "c": Origin("x", 1), "d": Origin("x", 1),
    }  # fmt: skip
    competitors = group_seeds(found, origins)
    assert [c.name for c in competitors] == ["a (2 seeds)", "b", "d", "e"]
    assert (competitors[0].ranks == np.stack([found["a"], found["c"]])).all()


def test_spreads_and_differences_are_those_of_the_rows() -> None:
    found = {"good": ranks(0.5, 0), "bad": ranks(0.1, 1), "again": ranks(0.5, 2)}
    origins = {"good": Origin("x", 0), "again": Origin("x", 1)}
    comparison = compare(group_seeds(found, origins), USERS, METRICS, BOOTSTRAP)
    hits = [compute("hit@10", found[name]).mean() for name in ("good", "again")]
    (spread,) = comparison.spreads
    assert spread["seeds"] == 2
    assert spread["metrics"]["hit@10"]["mean"] == pytest.approx(np.mean(hits))
    assert spread["metrics"]["hit@10"]["std"] == pytest.approx(abs(hits[0] - hits[1]) / 2**0.5)
    by_metric = {d["metric"]: d for d in comparison.differences}
    assert set(by_metric) == set(METRICS) and len(comparison.differences) == 2
    difference = by_metric["hit@10"]
    assert (difference["first"], difference["second"]) == ("good (2 seeds)", "bad")
    expected = np.mean(hits) - compute("hit@10", found["bad"]).mean()
    assert difference["value"] == pytest.approx(expected)
    assert difference["ci95"][0] > 0 and difference["p"] == difference["p_holm"] < 0.001
    text = comparison.as_text()
    assert "good (2 seeds) − bad: hit@10 +0." in text and "p < 0.001" in text
    assert "corrected" not in text  # one pair needs no correction


def test_all_pairs_are_corrected_for_their_number_in_each_metric() -> None:
    found = {name: ranks(0.3, number) for number, name in enumerate("abc")}
    comparison = compare(group_seeds(found, {}), USERS, METRICS, BOOTSTRAP)
    assert comparison.spreads == []
    pairs = [(d["first"], d["second"]) for d in comparison.differences if d["metric"] == "hit@10"]
    assert pairs == [("a", "b"), ("a", "c"), ("b", "c")]
    for metric in METRICS:
        of_metric = sorted(
            (d for d in comparison.differences if d["metric"] == metric), key=lambda d: d["p"]
        )
        assert of_metric[0]["p_holm"] == pytest.approx(min(1, 3 * of_metric[0]["p"]))
    assert "p corrected for 3 pairs (Holm)" in comparison.as_text()


def test_one_checkpoint_has_nothing_to_be_compared_with() -> None:
    comparison = compare(group_seeds({"a": ranks(0.3, 0)}, {}), USERS, METRICS, BOOTSTRAP)
    assert comparison.as_text() == "" and comparison.differences == []
