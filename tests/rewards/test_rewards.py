"""Each reward against numbers made by hand."""

from dataclasses import replace
from math import log, log2
from pathlib import Path

import numpy as np
import pytest
from reward_facts import CODES, make_facts, make_groups, score, scorer_of

from recllm.baselines.sasrec import SasRec
from recllm.catalog.histories import Spans
from recllm.catalog.sids import SidIndex, TitleIndex
from recllm.catalog.trie_building import ENDED
from recllm.data_prep.embed import VECTORS_FILE
from recllm.errors import UserError
from recllm.rewards import RewardFacts, semantic


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> RewardFacts:
    return make_facts(tmp_path_factory.mktemp("facts"))


def check(name: str, facts: RewardFacts, targets: list, items: list, expected: list) -> None:
    found = score(name, facts, make_groups(targets, items))
    assert found.tolist() == [pytest.approx(row, abs=1e-12) for row in expected]


def test_hit(facts: RewardFacts) -> None:
    check("hit", facts, [2, 5], [[1, 2, 3], [0, 1, -1]], [[0, 1, 0], [0, 0, 0]])


def test_ndcg_is_discounted_by_the_place_of_the_target(facts: RewardFacts) -> None:
    items = [[2, 1, 3], [1, 2, 3], [1, 3, 2], [0, 1, 3]]
    third = 1 / log2(4)
    expected = [[1, 0, 0], [0, 1 / log2(3), 0], [0, 0, third], [0, 0, 0]]
    check("ndcg", facts, [2, 2, 2, 2], items, expected)
    assert third == 0.5


def test_rank_penalises_what_stands_high_beside_the_target(facts: RewardFacts) -> None:
    first, second, third = 1.0, 1 / log2(3), 0.5
    expected = [
        [1, -second / (second + third), -third / (second + third)],
        [-first / (first + third), 1, -third / (first + third)],
        [-first / (first + second), -second / (first + second), 1],
    ]
    check("rank", facts, [2] * 3, [[2, 0, 1], [0, 2, 1], [0, 1, 2]], expected)
    assert expected[1] == pytest.approx([-2 / 3, 1, -1 / 3])


def test_rank_is_silent_without_a_hit_and_without_others(facts: RewardFacts) -> None:
    items = [[0, 1, 3], [2, -1, -1], [0, 2, -1]]
    check("rank", facts, [2] * 3, items, [[0, 0, 0], [1, 0, 0], [-1, 1, 0]])


def test_prefix_is_the_share_of_codes_in_common(facts: RewardFacts) -> None:
    expected = [[1, 2 / 3, 1 / 3, 0, 0, 0], [0, 0, 0, 2 / 3, 1, 0]]
    check("prefix", facts, [0, 4], [list(range(6))] * 2, expected)


def test_prefix_counts_the_end_of_shorter_sids(facts: RewardFacts) -> None:
    codes = np.array([[0, 1, ENDED], [0, 1, 2], [0, 2, ENDED], [0, ENDED, ENDED]], dtype=np.int32)
    shorter = replace(facts, sids=SidIndex(list("abcd"), codes, 3), items=4)
    # The target's codes and its end: 0 1 end, 0 1 2 end, 0 end.
    expected = [[1, 2 / 3, 1 / 3, 1 / 3], [2 / 4, 1, 1 / 4, 1 / 4], [1 / 2, 1 / 2, 1 / 2, 1]]
    check("prefix", shorter, [0, 1, 3], [[0, 1, 2, 3]] * 3, expected)


def test_prefix_refuses_titles(facts: RewardFacts) -> None:
    with pytest.raises(UserError, match="'prefix' compares the codes of SIDs, but items go by"):
        score("prefix", replace(facts, sids=TitleIndex(["a"], ["t"])), make_groups([0], [[0]]))


def test_semantic_is_the_cosine(facts: RewardFacts) -> None:
    half = 1 / np.sqrt(2)
    expected = [[1, half, 0, -1, 0, 0.6], [0, 0, 0, 0, 1, 0]]
    found = score("semantic", facts, make_groups([0, 4], [list(range(6))] * 2))
    assert found == pytest.approx(np.array(expected), abs=1e-7)


def test_semantic_reads_what_embed_writes(facts: RewardFacts) -> None:
    assert semantic.VECTORS_FILE == VECTORS_FILE
    with pytest.raises(UserError, match="expected a vector for each of 9 items, found 6"):
        score("semantic", replace(facts, items=9), make_groups([0], [[0]]))


def test_collaborative_is_the_teachers_probability_over_its_highest(facts: RewardFacts) -> None:
    groups = make_groups([2, 0], [[2, 0, -1], [5, 1, 0]], [[0, 1], [3, 4, 5]])
    assert facts.teacher is not None
    scores = SasRec.load(facts.teacher).scores(Spans.from_lists(groups.histories))
    each = np.exp(scores.astype(np.float64))
    probability = each / each.sum(axis=1, keepdims=True)
    highest = probability.max(axis=1)
    expected = [
        [probability[0, 2] / highest[0], probability[0, 0] / highest[0], 0],
        [probability[1, i] / highest[1] for i in (5, 1, 0)],
    ]
    found = score("collaborative", facts, groups)
    assert found == pytest.approx(np.array(expected), rel=1e-6)
    assert found[0, 0] == found[1, 2] == 1  # it has learned what follows what
    assert found.min() >= 0


def test_collaborative_by_rank_is_discounted_as_ndcg_is(facts: RewardFacts) -> None:
    groups = make_groups([2, 0], [[2, 0, -1], [5, 1, 0]], [[0, 1], [3, 4, 5]])
    assert facts.teacher is not None
    scores = SasRec.load(facts.teacher).scores(Spans.from_lists(groups.histories))
    found = scorer_of("collaborative", facts, by="rank")(groups)
    for group, items in enumerate(groups.items):
        for place, item in enumerate(items):
            rank = (scores[group] > scores[group, max(item, 0)]).sum()
            assert found[group, place] == pytest.approx(1 / np.log2(rank + 2))
    assert found[0, 0] == found[1, 2] == 1
    assert found.min() >= 1 / np.log2(len(CODES) + 1)


def test_collaborative_refuses_a_teacher_of_other_items(facts: RewardFacts) -> None:
    with pytest.raises(UserError, match="the teacher knows 6 items, but the catalogue has 9"):
        score("collaborative", replace(facts, items=9), make_groups([0], [[0]]))


def test_popularity_penalises_all_but_the_target(facts: RewardFacts) -> None:
    training = Spans.from_lists([[0, 0, 0], [0, 1, 0, 0, 0], [1, 1, 2]])
    counted = replace(facts, training=training)
    expected = [[0, -1, -log(4) / log(8), -log(2) / log(8), 0], [-1, 0, 0, 0, 0]]
    check("popularity", counted, [5, 1], [[5, 0, 1, 2, 3], [0, 1, -1, -1, -1]], expected)


def test_popularity_of_a_log_without_training_is_no_penalty(facts: RewardFacts) -> None:
    nothing = replace(facts, training=Spans.from_lists([[]]))
    check("popularity", nothing, [0], [[1, 2, 0]], [[0, 0, 0]])


def test_facts_are_checked_where_they_are_needed(tmp_path: Path, facts: RewardFacts) -> None:
    with pytest.raises(UserError, match="expected a trained SASRec"):
        score("collaborative", replace(facts, teacher=tmp_path), make_groups([0], [[0]]))
    assert len(CODES) == facts.items
