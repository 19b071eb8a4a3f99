"""No ranking is flagged, rounded or not; impossible figures are, and those of published tables."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recllm.metrics import compute, contradictions

NAMES = ("hit@1", "ndcg@1", "hit@5", "ndcg@5", "hit@10", "ndcg@10", "mrr@10")


@given(st.lists(st.integers(-1, 12), min_size=1, max_size=40))
def test_figures_of_a_ranking_are_never_flagged(ranks: list[int]) -> None:
    found = {name: float(compute(name, np.array(ranks)).mean()) for name in NAMES}
    assert contradictions(found) == []
    rounded = {name: round(value, 2) for name, value in found.items()}
    assert contradictions(rounded, dict.fromkeys(rounded, 0.005 + 1e-9)) == []


def test_ndcg_above_hit_or_below_what_hits_are_worth_is_flagged() -> None:
    (above,) = contradictions({"hit@10": 0.05, "ndcg@10": 0.06})
    assert above == (
        "places 1 to 10: hits of 0.0500 are worth 0.0145 to 0.0500 in ndcg, found 0.0600"
    )
    assert len(contradictions({"hit@10": 0.05, "ndcg@10": 0.01})) == 1


def test_two_cutoffs_bound_each_other_where_each_alone_fits() -> None:
    figures = {"hit@5": 0.04, "ndcg@5": 0.03, "hit@10": 0.05, "ndcg@10": 0.04}
    rounding = dict.fromkeys(figures, 5e-5)
    (found,) = contradictions(figures, rounding)
    assert found.startswith("places 6 to 10: hits of 0.0100 are worth 0.0029 to 0.0036 in ndcg")
    assert contradictions(figures | {"ndcg@10": 0.0332}, rounding) == []
    assert contradictions({"hit@5": 0.04, "ndcg@5": 0.03, "hit@10": 0.03, "ndcg@10": 0.03}) == [
        "hit@10 is below hit@5: -0.0100 for places 6 to 10"
    ]


def test_figures_outside_0_to_1_are_flagged_and_a_lone_metric_is_not() -> None:
    assert contradictions({"hit@10": 6.05}) == ["hit@10: expected a figure from 0 to 1, found 6.05"]
    assert contradictions({"ndcg@10": 0.5, "hit@5": 0.1}) == []
