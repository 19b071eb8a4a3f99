"""Weighted sums of rewards, functions of the user's own, and what is said of mistakes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from reward_facts import make_facts, make_groups, score

from recllm.config.loading import read_recipe
from recllm.config.mistakes import explain
from recllm.config.reward_mix import canonical_rewards, read_rewards
from recllm.errors import UserError
from recllm.rewards import Groups, Reward, RewardFacts, RewardMix

MODULE = """
import numpy as np

def odd(groups):
    return np.where(groups.items < 0, np.nan, groups.items % 2)

def wrong_shape(groups):
    return np.ones(len(groups.items))

def not_a_number(groups):
    return np.where(groups.hits, np.nan, 0)

def infinite(groups):
    return np.where(groups.hits, -np.inf, 0)

def words(groups):
    return [["good"] * groups.items.shape[1]] * len(groups.items)

def ragged(groups):
    return [[1.0], [1.0, 2.0]]

def nothing(groups):
    return None

THRESHOLD = 3
"""


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> RewardFacts:
    return make_facts(tmp_path_factory.mktemp("facts"))


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module of the user's own."""
    name = f"own_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"broken_{name}.py").write_text("raise RuntimeError('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_total_is_the_weighted_sum_of_the_parts(facts: RewardFacts, own: str) -> None:
    groups = make_groups([2, 0], [[2, 1, 0], [5, 1, -1]])
    given = {"rank": 1, "prefix": {"weight": 0.5}, "popularity": 0.0, f"{own}.odd": 2}
    found = RewardMix(read_rewards(canonical_rewards(given)), facts).score(groups)
    assert list(found.parts) == ["rank", "prefix", "popularity", f"{own}.odd"]
    for name in ("rank", "prefix", "popularity"):
        assert np.array_equal(found.parts[name], score(name, facts, groups))
    assert found.parts[f"{own}.odd"].tolist() == [[0, 1, 0], [1, 1, 0]]  # absent: 0, not NaN
    parts = found.parts
    expected = parts["rank"] + 0.5 * parts["prefix"] + 2 * parts[f"{own}.odd"]
    assert found.total == pytest.approx(expected)
    assert parts["popularity"].any()


def test_values_are_written_out() -> None:
    given = {"semantic": {"weight": 0.2}, "rank": 1, "hit": {}}
    assert canonical_rewards(given) == {
        "semantic": {"weight": 0.2},
        "rank": 1.0,
        "hit": {"weight": 1.0},
    }
    assert canonical_rewards(canonical_rewards(given)) == canonical_rewards(given)
    assert canonical_rewards({"rank": None, "hit": 1}) == {"hit": 1.0}
    shares = read_rewards(canonical_rewards(given))
    assert [(share.reward.name, share.weight) for share in shares] == [
        ("semantic", 0.2),
        ("rank", 1.0),
        ("hit", 1.0),
    ]
    assert [share.reward.needs_vectors for share in shares] == [True, False, False]


def test_a_recipe_that_extends_another_changes_single_rewards(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("rl: {rewards: {rank: 1, semantic: 0.5, a.b_c: 2}}")
    own = "extends: base.yaml\nrl: {rewards: {semantic: {weight: 0.1}, a.b_c: {}, hit: 1}}"
    (tmp_path / "own.yaml").write_text(own)
    assert read_recipe(tmp_path / "own.yaml")["rl"]["rewards"] == {
        "rank": 1,
        "semantic": {"weight": 0.1},
        "a.b_c": {"weight": 2},
        "hit": 1,
    }


def test_a_function_knows_its_file(own: str, tmp_path: Path) -> None:
    (share,) = read_rewards({f"{own}.odd": 1})
    assert share.reward.source == tmp_path / f"{own}.py"
    assert not share.reward.needs_teacher and not share.reward.needs_vectors


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"rnk": 1}, ["rnk: unknown reward 'rnk'; did you mean 'rank'? known: collaborative,"]),
        ({"hit": -1}, ["hit: the weight of reward 'hit' must be 0 or more, found -1"]),
        ({"hit": {"weight": "much"}}, ["hit.weight: the weight of reward 'hit' must be 0 or more"]),
        ({"hit": float("nan")}, ["hit: the weight of reward 'hit' must be 0 or more, found nan"]),
        ({"hit": float("inf")}, ["hit: the weight of reward 'hit' must be 0 or more, found inf"]),
        ({"hit": True}, ["hit: the weight of reward 'hit' must be 0 or more, found True"]),
        ({"hit": {"wieght": 1}}, ["hit.wieght: unknown key; did you mean 'weight'?"]),
        ({"hit": 0}, [": every reward weighs 0, so that there is nothing to train on"]),
        ({}, [": expected a reward, found all of them left out"]),
        ({"hit": None}, [": expected a reward, found all of them left out"]),
        (
            {"rnk": 1, "ndcg": "x"},
            ["rnk: unknown reward", "ndcg: the weight of reward 'ndcg' must be 0 or more"],
        ),
        ({"no_package.here": 1}, ["no_package.here: expected the dotted path of a function, but"]),
        ({"math.absent": 1}, ["math.absent: expected the dotted path of a function, but 'math' h"]),
        ({"math.pi": 1}, ["math.pi: expected the dotted path of a function, but 'math' has no fu"]),
        ({".x": 1}, [".x: expected the dotted path of a function, but the module '' cannot"]),
    ],
)
def test_every_mistake_is_told_with_its_place(given: dict, expected: list[str]) -> None:
    with pytest.raises(ValidationError) as error:
        canonical_rewards(given)
    found = [
        f"{'.'.join(map(str, detail['loc']))}: {explain(detail, Reward)}"
        for detail in error.value.errors()
    ]
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_mistakes_in_the_users_own(own: str) -> None:
    with pytest.raises(ValidationError, match=r"cannot be imported: RuntimeError\('no licence'\)"):
        canonical_rewards({f"broken_{own}.odd": 1})
    with pytest.raises(ValidationError, match=f"'{own}' has no function 'THRESHOLD'"):
        canonical_rewards({f"{own}.THRESHOLD": 1})
    with pytest.raises(ValidationError, match="is a function, which takes no options but weight"):
        canonical_rewards({f"{own}.odd": {"weight": 1, "least": 2}})


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("wrong_shape", r"\(2, 2\) \(groups, items\), found shape \(2,\)"),
        ("not_a_number", "found nan for item 3 of log row 101, in place 1"),
        ("infinite", "found -inf for item 3 of log row 101, in place 1"),
        ("words", "found list: could not convert"),
        ("ragged", "found list: "),
        ("nothing", r"found (NoneType|shape \(\))"),
    ],
)
def test_what_is_no_score_is_refused(
    facts: RewardFacts, own: str, function: str, expected: str
) -> None:
    groups = make_groups([2, 3], [[1, 0], [4, 3]])
    mix = RewardMix(read_rewards({"hit": 1, f"{own}.{function}": 0.5}), facts)
    with pytest.raises(UserError, match=f"the reward '{own}.{function}': expected.*{expected}"):
        mix.score(groups)


def test_what_a_reward_needs_must_be_there(facts: RewardFacts) -> None:
    without = replace(facts, vectors=None, teacher=None)
    with pytest.raises(UserError, match="the reward 'semantic' compares the vectors of the stage"):
        RewardMix(read_rewards({"semantic": 1}), without)
    with pytest.raises(UserError, match="the reward 'collaborative' asks a trained SASRec, but"):
        RewardMix(read_rewards({"collaborative": 1}), without)


def test_scores_are_not_written_over(facts: RewardFacts, own: str) -> None:
    """A function may give the same array again and again."""
    groups = make_groups([1], [[1, -1]])
    same = np.full((1, 2), 7.0)

    def function(_: Groups) -> np.ndarray:
        return same

    (share,) = read_rewards({f"{own}.odd": 1})
    always = replace(share, reward=replace(share.reward, function=function))
    assert RewardMix([always], facts).score(groups).total.tolist() == [[7, 0]]
    assert same.tolist() == [[7, 7]]
