"""Shards of a ranking, with a ranker whose answers are known."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed import HashStore

from recllm.decoding.ranking import Ranking
from recllm.eval import shards
from recllm.eval.engines import Questions, Ranker
from recllm.eval.shards import ShardedRanker, digest
from recllm.world import World

ALONE = World()


class Known(Ranker):
    """Recommends a prompt's first token and the one after it."""

    def __init__(self, dies_after: int | None = None, **choices: Any) -> None:
        super().__init__()
        self.choices = {"batch_tokens": 7} | choices  # type: ignore[misc]
        self.asked: list[int] = []
        self._dies_after = dies_after

    choices: dict[str, Any] = {}  # noqa: RUF012

    def rank(self, questions: Questions, advance: Callable[[int], None] | None = None) -> Ranking:
        if self._dies_after is not None and len(self.asked) >= self._dies_after:
            raise KeyboardInterrupt
        first = np.array([prompt[0] for prompt in questions.prompts], dtype=np.int32)
        self.asked += first.tolist()
        self.counts = {"beam_tokens": 2 * len(first), "odd": int((first % 2).sum())}
        if advance:
            advance(len(first))
        scores = (np.stack([-first, -first], 1) / 3).astype(np.float32)
        return Ranking(np.stack([first, first + 1], axis=1), scores)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ROWS", 10)


def questions(count: int, start: int = 0) -> Questions:
    return Questions([[start + i, 5] for i in range(count)], None)


def sharded(ranker: Ranker, folder: Path, world: World = ALONE, **identity: Any) -> ShardedRanker:
    return ShardedRanker(ranker, identity, folder, world)


@pytest.mark.parametrize("count", [1, 10, 35])
def test_all_rows_come_in_their_order(tmp_path: Path, count: int) -> None:
    known, told = Known(), []
    ranker = sharded(known, tmp_path)
    ranking = ranker.rank(questions(count), told.append)
    assert np.array_equal(ranking.items, Known().rank(questions(count)).items)
    assert np.array_equal(ranking.scores, Known().rank(questions(count)).scores)
    assert ranker.counts == {"beam_tokens": 2 * count, "odd": count // 2}
    assert sum(told) == count and ranker.seconds > 0 and ranker.choices == known.choices


def test_what_was_ranked_before_an_end_is_not_ranked_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        sharded(Known(dies_after=20), tmp_path).rank(questions(35))
    again, told = Known(), []
    ranking = sharded(again, tmp_path).rank(questions(35), told.append)
    assert again.asked == list(range(20, 35))
    assert np.array_equal(ranking.items[:, 0], np.arange(35)) and sum(told) == 35


def test_a_damaged_shard_is_ranked_again(tmp_path: Path) -> None:
    sharded(Known(), tmp_path).rank(questions(30))
    file = next(tmp_path.glob("*/10.safetensors"))
    file.write_bytes(file.read_bytes()[:-30])
    again = Known()
    ranking = sharded(again, tmp_path).rank(questions(30))
    assert again.asked == list(range(10, 20))
    assert np.array_equal(ranking.items[:, 0], np.arange(30))


def test_other_questions_and_other_checkpoints_have_shards_of_their_own(tmp_path: Path) -> None:
    sharded(Known(), tmp_path, checkpoint="one").rank(questions(5))
    for asked, checkpoint in ((questions(5, start=1), "one"), (questions(5), "two")):
        other = Known()
        sharded(other, tmp_path, checkpoint=checkpoint).rank(asked)
        assert len(other.asked) == 5


def test_another_choice_has_shards_of_its_own_but_for_the_size_of_batches(tmp_path: Path) -> None:
    sharded(Known(gamma=1), tmp_path).rank(questions(5))
    same, other = Known(gamma=1, batch_tokens=9), Known(gamma=2)
    for ranker in (same, other):
        sharded(ranker, tmp_path).rank(questions(5))
    assert (len(same.asked), len(other.asked)) == (0, 5)


def test_processes_share_the_shards_out(tmp_path: Path) -> None:
    store, rankers = HashStore(), [Known() for _ in range(3)]

    def work(rank: int) -> Ranking:
        return sharded(rankers[rank], tmp_path, World(rank, 3, store)).rank(questions(75))

    with ThreadPoolExecutor(3) as threads:
        rankings = list(threads.map(work, range(3)))
    assert all(np.array_equal(found.items[:, 0], np.arange(75)) for found in rankings)
    assert sorted(row for ranker in rankers for row in ranker.asked) == list(range(75))
    assert [len(ranker.asked) for ranker in rankers] == [30, 25, 20]


def test_a_narrower_shard_is_filled_up() -> None:
    one = Ranking(np.array([[1, 2]], np.int32), np.array([[-1, -2]], np.float32))
    other = Ranking(np.array([[3]], np.int32), np.array([[-3]], np.float32))
    joined = shards.join([one, other])
    assert joined.items.tolist() == [[1, 2], [3, -1]] and joined.items.dtype == np.int32
    assert joined.scores.tolist() == [[-1, -2], [-3, -np.inf]]
    assert joined.scores.dtype == np.float32


LISTS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3), max_size=3)
OPTIONAL = st.none() | LISTS


@settings(deadline=None)
@given(st.tuples(LISTS, OPTIONAL, OPTIONAL), st.tuples(LISTS, OPTIONAL, OPTIONAL))
def test_the_digest_tells_questions_apart(one: Any, other: Any) -> None:
    assert (digest(Questions(*one)) == digest(Questions(*other))) == (one == other)
