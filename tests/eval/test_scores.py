"""metrics.json on a case computed by hand."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from recllm.baselines.ranking import BaselineRanking
from recllm.catalog.items import Items
from recllm.config.schema import EvalSection
from recllm.errors import UserError
from recllm.eval.facts import Facts, align
from recllm.eval.predictions import Predictions
from recllm.eval.scores import Scores, score, sid_ranks
from recllm.eval.slices import slice_masks

ITEMS = Items(pa.table({"item_id": list("abcde"), "title": list("ABCDE")}))
SECTION = EvalSection(engine=None, beams=3, cutoffs=(1, 2, 3), bootstrap=200)

# Item e is cold. Items c and d share a SID.
CODES = np.array([[0, 0], [0, 1], [1, 0], [1, 0], [2, 0]], dtype=np.int32)
POPULARITY = np.array([6, 3, 2, 1, 0])

#: Two recommended items a row, and none in the last.
POPULAR = BaselineRanking(
    np.array([0, 2, -1, 1], dtype=np.int32),
    np.array([[0, 1], [0, 1], [0, 1], [-1, -1]], dtype=np.int32),
)

ROWS = {
    "row": [11, 12, 13, 14],
    "user_id": ["u", "v", "w", "w"],
    "target": pa.array([0, 2, 4, 1], pa.int32()),
    "rank": pa.array([0, -1, 2, 1], pa.int32()),
    "item_ids": [["a", "b", "c"], ["a", "d"], ["b", "a", "e"], ["a", "b", "c"]],
    "scores": [[-1.0, -2.0, -3.0], [-1.0, -2.0], [-1.0, -2.0, -3.0], [-1.0, -2.0, -3.0]],
    "invalid": pa.array([0, 1, 0, 0], pa.int32()),
}


def scored(**changes: object) -> Scores:
    facts = Facts(
        history_lengths=np.array([1, 4, 5, 60]),
        popularity=POPULARITY,
        codes=CODES,
        baselines={"popularity": POPULAR},
    )
    table = pa.table({**ROWS, **changes})
    return score(
        Predictions.from_table(table, ITEMS),
        facts,
        split="test",
        section=SECTION,
        seed=0,
        settings={"beams": 3},
        cost={"seconds": 1.0},
    )


def values(estimates: dict) -> dict[str, float]:
    return {name: estimate["value"] for name, estimate in estimates.items()}


def test_item_level() -> None:
    found = scored()
    assert (found["split"], found["rows"]) == ("test", 4)
    log3 = math.log2(3)
    assert values(found["metrics"]) == pytest.approx(
        {
            "hit@1": 1 / 4,
            "hit@2": 2 / 4,
            "hit@3": 3 / 4,
            "ndcg@1": 1 / 4,
            "ndcg@2": (1 + 1 / log3) / 4,
            "ndcg@3": (1 + 1 / 2 + 1 / log3) / 4,
            "mrr@3": (1 + 1 / 3 + 1 / 2) / 4,
        }
    )
    for estimate in found["metrics"].values():
        low, high = estimate["ci95"]
        assert estimate["n"] == 4 and 0 <= low <= estimate["value"] <= high <= 1
    assert values(found["baselines"]["popularity"])["mrr@3"] == pytest.approx((1 + 1 / 3 + 0.5) / 4)


def test_a_shared_sid_is_a_hit_on_the_level_of_sids() -> None:
    found = values(scored()["sid_metrics"])
    assert found["hit@1"] == 1 / 4
    assert found["hit@2"] == 3 / 4  # the second row: d was recommended for c
    assert found["hit@3"] == 4 / 4


def test_items_of_one_sid_take_one_place() -> None:
    items = np.array([[2, 3, 1], [3, -1, -1], [-1, -1, -1]])
    assert sid_ranks(items, np.array([1, 0, 0]), CODES).tolist() == [1, -1, -1]


def test_paired_differences() -> None:
    found = scored()["paired"]["popularity"]
    assert found["hit@3"]["value"] == pytest.approx((0 - 1 + 1 + 0) / 4)
    assert found["hit@3"]["ci95"][0] < 0 < found["hit@3"]["ci95"][1]
    assert found["ndcg@3"]["value"] == pytest.approx(0.0)


def test_slices() -> None:
    slices = scored()["slices"]
    lengths = {part["label"]: part for part in slices["history_length"]}
    assert {label: part["n"] for label, part in lengths.items()} == {
        "1-4": 2,
        "5-9": 1,
        "10-19": 0,
        "20-49": 0,
        "50+": 1,
    }
    assert lengths["1-4"]["model"]["hit@3"]["value"] == 0.5
    assert lengths["1-4"]["baselines"]["popularity"]["hit@3"]["value"] == 1.0
    assert lengths["10-19"]["model"] == {} == lengths["10-19"]["baselines"]["popularity"]
    cold = {part["label"]: part for part in slices["cold_target"]}
    assert cold["cold"]["n"] == 1 and cold["cold"]["model"]["hit@3"]["value"] == 1.0
    assert cold["warm"]["n"] == 3


def test_groups_of_popularity_take_a_third_of_the_traffic_and_keep_ties_together() -> None:
    targets = np.arange(5)
    masks = slice_masks(np.ones(5), targets, POPULARITY)["target_popularity"]
    # before a: 0, b: 6/12, c: 9/12, d: 11/12 of the traffic; e is cold
    groups = {label: targets[mask].tolist() for label, mask in masks.items()}
    assert groups == {"head": [0], "mid": [1], "tail": [2, 3]}
    even = slice_masks(np.ones(5), targets, np.full(5, 4))["target_popularity"]
    assert even["head"].all()


def test_every_row_is_in_one_slice_of_each_kind_but_cold_ones_have_no_popularity() -> None:
    rng = np.random.default_rng(0)
    popularity = rng.integers(0, 5, 50)
    targets = rng.integers(0, 50, 200)
    masks = slice_masks(rng.integers(1, 100, 200), targets, popularity)
    counts = {kind: np.sum(list(parts.values()), axis=0) for kind, parts in masks.items()}
    assert (counts["history_length"] == 1).all() and (counts["cold_target"] == 1).all()
    assert np.array_equal(counts["target_popularity"], popularity[targets] > 0)


def test_beyond_accuracy_and_invalid_rate() -> None:
    found = scored()
    beyond = found["beyond_accuracy"]["model"]
    assert beyond["coverage"] == 1.0
    shown = [0, 1, 2, 0, 3, 1, 0, 4, 0, 1, 2]
    assert beyond["popularity_recommended"] == pytest.approx(POPULARITY[shown].mean())
    assert beyond["popularity_targets"] == pytest.approx((6 + 2 + 0 + 3) / 4)
    assert beyond["popularity_bias"] == pytest.approx(POPULARITY[shown].mean() / (11 / 4))
    # pairs that differ in the first code: 2 of 3, 1 of 1, 2 of 3, 2 of 3
    assert beyond["diversity"] == pytest.approx((2 / 3 + 1 + 2 / 3 + 2 / 3) / 4)
    assert found["invalid_rate"] == pytest.approx(1 / 11)


def test_beyond_accuracy_of_a_baseline() -> None:
    beyond = scored()["beyond_accuracy"]["popularity"]
    assert beyond["coverage"] == 2 / 5
    assert beyond["diversity"] == 0  # both have the first code 0
    assert beyond["popularity_recommended"] == pytest.approx((6 + 3) / 2)
    assert beyond["popularity_targets"] == pytest.approx((6 + 2 + 0 + 3) / 4)
    assert beyond["novelty"] == pytest.approx(-(math.log2(6 / 12) + math.log2(3 / 12)) / 2)


def test_is_json_without_infinities_even_where_nothing_is_known() -> None:
    facts = Facts(np.ones(4, dtype=np.int64), np.zeros(5, dtype=np.int64), CODES, {})
    predictions = Predictions.from_table(pa.table(ROWS), ITEMS)
    found = score(predictions, facts, split="valid", section=SECTION, seed=0, settings={}, cost={})
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert "popularity_bias" not in found["beyond_accuracy"]["model"]
    assert found["baselines"] == {} == found["paired"]


def test_ranks_that_contradict_the_items_are_refused() -> None:
    with pytest.raises(ValueError, match="not those of their items"):
        scored(rank=pa.array([1, -1, 2, 1], pa.int32()))


def test_no_rows_and_unknown_items_are_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="found none"):
        empty = pa.table(ROWS).slice(0, 0)
        facts = Facts(np.ones(0, dtype=np.int64), POPULARITY, CODES, {})
        predictions = Predictions.from_table(empty, ITEMS)
        score(predictions, facts, split="test", section=SECTION, seed=0, settings={}, cost={})
    with pytest.raises(UserError, match="not in the catalogue"):
        scored(item_ids=[["zzz"], ["a"], ["b"], ["c"]])


def test_align() -> None:
    assert align(np.array([30, 10, 20]), np.array([20, 30])).tolist() == [2, 0]
    with pytest.raises(UserError, match="such as 25"):
        align(np.array([30, 10, 20]), np.array([20, 25]))
    with pytest.raises(UserError, match="such as 1"):
        align(np.empty(0, dtype=np.int64), np.array([1]))
