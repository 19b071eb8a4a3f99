"""What holds for every reward."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_facts import CODES, make_facts, make_groups, scorer_of

from recllm.config.plugins import REWARDS
from recllm.config.reward_mix import read_reward
from recllm.rewards import Groups, RewardFacts, RewardMix

ITEMS = len(CODES)
#: A target, what was recommended, and a history.
GROUPS = st.lists(
    st.tuples(
        st.integers(0, ITEMS - 1),
        st.lists(st.integers(0, ITEMS - 1), unique=True, max_size=4),
        st.lists(st.integers(0, ITEMS - 1), min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=5,
)
#: It asks a teacher, who may hold something else likelier than the target.
OTHERS = [name for name in REWARDS.names() if name != "collaborative"]


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> RewardFacts:
    return make_facts(tmp_path_factory.mktemp("facts"))


def to_groups(drawn: list[tuple[int, list[int], list[int]]], width: int = 4) -> Groups:
    targets, items, histories = zip(*drawn, strict=True)
    padded = [[*row, *[-1] * (width - len(row))] for row in items]
    return make_groups(list(targets), padded, list(histories))


def take(groups: Groups, order: list[int]) -> Groups:
    histories = [groups.histories[i] for i in order]
    return Groups(groups.rows[order], histories, groups.targets[order], groups.items[order])


@pytest.mark.parametrize("name", REWARDS.names())
def test_the_gold_answer_scores_highest(facts: RewardFacts, name: str) -> None:
    """Wherever it stands; where a history tells what comes next, the teacher knows it too."""
    for target in range(ITEMS):
        others = [item for item in range(ITEMS) if item != target]
        items = [[*others[:place], target, *others[place:]] for place in range(ITEMS)]
        groups = make_groups([target] * ITEMS, items)
        found = scorer_of(name, facts)(groups)
        at_target = found[groups.hits]
        assert (at_target[:, None] >= found).all()
        assert (at_target > np.where(groups.hits, -np.inf, found).min(axis=1)).all()


@pytest.mark.parametrize("name", OTHERS)
@given(drawn=GROUPS)
def test_no_item_scores_higher_than_the_target(facts, name, drawn) -> None:
    groups = to_groups([(t, [t, *(i for i in row if i != t)][:4], h) for t, row, h in drawn])
    found = np.where(groups.present, scorer_of(name, facts)(groups), -np.inf)
    assert (found[:, :1] >= found).all()


@pytest.mark.parametrize("name", [n for n in REWARDS.names() if not REWARDS.load(n).needs_target])
@given(drawn=GROUPS)
def test_who_needs_no_target_scores_without_as_with_one_that_is_missed(facts, name, drawn) -> None:
    missed = [(t, [i for i in row if i != t], h) for t, row, h in drawn]
    known = to_groups(missed)
    unknown = Groups(known.rows, known.histories, np.full_like(known.targets, -1), known.items)
    assert not unknown.hits.any()  # absent items are no hits either
    mix = RewardMix([read_reward(name, 1.0)], facts)
    assert mix.score(unknown).total == pytest.approx(mix.score(known).total, abs=1e-12)


@pytest.mark.parametrize("name", REWARDS.names())
@given(drawn=GROUPS, data=st.data())
def test_scores_go_with_their_groups_and_absent_items_have_none(facts, name, drawn, data) -> None:
    groups = to_groups(drawn)
    mix = RewardMix([read_reward(name, 1.0)], facts)
    found = mix.score(groups).total
    assert found.shape == groups.items.shape and found.dtype == np.float64
    assert np.isfinite(found).all() and (np.abs(found) <= 1).all()
    assert (found[~groups.present] == 0).all()
    order = data.draw(st.permutations(range(len(drawn))))
    assert mix.score(take(groups, order)).total == pytest.approx(found[order], abs=1e-6)
    alone = [mix.score(take(groups, [i])).total[0] for i in range(len(drawn))]
    assert np.stack(alone) == pytest.approx(found, abs=1e-6)
