"""What processes tell each other, with threads in their place."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from torch.distributed import HashStore

from recllm.errors import UserError
from recllm.world import World, alone

SIZE = 3


def in_each(work: Callable[[World], Any]) -> list[Any]:
    """What the work returns, or raises, in each process."""
    store = HashStore()

    def run(rank: int) -> Any:
        try:
            return work(World(rank, SIZE, store))
        except Exception as error:
            return error

    with ThreadPoolExecutor(SIZE) as threads:
        return list(threads.map(run, range(SIZE)))


def test_the_others_wait_for_what_the_first_finds() -> None:
    def find() -> list[int]:
        time.sleep(0.3)
        return [1, 2]

    assert in_each(lambda world: world.from_first("found", find)) == [[1, 2]] * SIZE


def test_a_mistake_in_one_process_ends_all() -> None:
    def work(world: World) -> str:
        def mistake() -> str:
            if world.rank == 1:
                raise UserError("no such model")
            return "done"

        return world.together("work", mistake)

    ended = in_each(work)
    assert [type(error) for error in ended] == [UserError] * SIZE
    assert {str(error) for error in ended} == {"no such model"}


def test_without_a_mistake_each_process_has_its_own_result() -> None:
    assert in_each(lambda world: world.together("rank", lambda: world.rank)) == [0, 1, 2]


def test_one_process_speaks() -> None:
    assert sorted(in_each(World.may_speak)) == [False, False, True]


def test_a_process_of_its_own_needs_nobody() -> None:
    world = World.current()
    assert (world.rank, world.size, world.is_first, world.may_speak()) == (0, 1, True, True)
    assert world.together("work", lambda: 3) == world.from_first("found", lambda: 3) == 3
    with pytest.raises(UserError, match="mistake"):
        world.together("mistake", lambda: (_ for _ in ()).throw(UserError("mistake")))


def test_fewer_processes_than_asked_for_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLLM_PROCESSES", "2")
    with pytest.raises(UserError, match="expected 2 processes, found 1"):
        World().require_as_asked()
    World(0, 2, HashStore()).require_as_asked()


def test_alone_hides_the_other_processes_from_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with alone():
        assert "WORLD_SIZE" not in os.environ and "ACCELERATE_USE_DEEPSPEED" not in os.environ
    assert os.environ["WORLD_SIZE"] == "2"
