"""The processes of one training, and what they tell each other outside of the training itself.

`accelerate launch` starts them. They speak through the key-value store that its launcher keeps
for them, which exists before any process group does and knows no timeout: the first process may
prepare data for hours while the others wait.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from recllm.errors import UserError

T = TypeVar("T")

#: How often a process that waits looks whether it still has to.
POLL_SECONDS = 0.2
#: What a launcher sets for each process.
RANK, SIZE, LOCAL_RANK = "RANK", "WORLD_SIZE", "LOCAL_RANK"
#: What makes a library take part in a training of several processes.
SEVERAL = (RANK, SIZE, LOCAL_RANK, "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP")
#: Set by `recllm sft --accelerate`: how many processes it asked for.
ASKED = "RECLLM_PROCESSES"
#: Set by it too: the file for the exit code, of which the launcher passes on no more than 0 or 1.
OUTCOME = "RECLLM_OUTCOME"


class Store(Protocol):
    """What is used of torch's key-value stores."""

    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...
    def add(self, key: str, amount: int, /) -> int: ...
    def check(self, keys: list[str], /) -> bool: ...


@dataclass
class World:
    """The processes that train together; by default this one alone.

    Attributes:
        rank: which of them this is; the first, 0, prepares the data and writes the results.
        in_step: whether all of them would end with a `UserError` that this one ends with now.
    """

    rank: int = 0
    size: int = 1
    store: Store | None = None
    in_step: bool = True

    _current: ClassVar["World | None"] = None

    @classmethod
    def current(cls) -> "World":
        """The one that this process has joined; a world of its own where it has not."""
        return cls._current or cls()

    @classmethod
    def join(cls) -> "World":
        """Take the place that the launcher has given to this process."""
        world = cls()
        if LOCAL_RANK in os.environ:
            from torch.distributed.distributed_c10d import PrefixStore
            from torch.distributed.rendezvous import rendezvous

            store, rank, size = next(rendezvous("env://"))
            world = cls(rank, size, PrefixStore("recllm", store))
        cls._current = world
        return world

    def require_as_asked(self) -> None:
        """Refuse to train in fewer processes than were asked for.

        Raises:
            UserError: there are fewer, or more.
        """
        if ASKED in os.environ:
            self.require(int(os.environ[ASKED]))
        elif self.store is None and "MASTER_ADDR" in os.environ:
            # accelerate's launcher of one process sets this where it was asked for several.
            raise UserError(
                "expected several processes, found this one alone: under --cpu accelerate launch "
                "starts one, whatever --num_processes says; give --multi_gpu instead, also on a "
                "machine without a GPU, or call recllm sft RECIPE --accelerate ddp"
            )

    def require(self, size: int) -> None:
        """Refuse another number of processes than this.

        Raises:
            UserError: there are fewer, or more.
        """
        if self.size != size:
            raise UserError(
                f"expected {size} processes, found {self.size}: accelerate did not start as many "
                "as it was asked for; look at distributed_type in its configuration"
            )

    @property
    def is_first(self) -> bool:
        """Whether this process writes the results."""
        return self.rank == 0

    def tell(self, name: str, value: Any) -> None:
        """Leave a JSON value for the others."""
        if self.store is not None:
            self.store.set(name, json.dumps(value))

    def hear(self, *names: str) -> tuple[str, Any]:
        """Wait for the first of these that a process has told: its name and its value."""
        assert self.store is not None
        while True:
            for name in names:
                if self.store.check([name]):
                    return name, json.loads(self.store.get(name))
            time.sleep(POLL_SECONDS)

    def from_first(self, name: str, find: Callable[[], T]) -> T:
        """What the first process finds, a JSON value, in all of them; the others wait for it."""
        if not self.is_first:
            return self.hear(name)[1]
        found = find()
        self.tell(name, found)
        return found

    def together(self, name: str, work: Callable[[], T]) -> T:
        """Do something in each process; a user's mistake in one of them ends all.

        Raises:
            UserError: it was raised in a process, first in one of the lowest rank.
        """
        if self.store is None:
            return work()
        result, mistake = None, None
        try:
            result = work()
        except UserError as error:
            mistake = str(error)
        self.tell(f"{name}/{self.rank}", mistake)
        heard = [self.hear(f"{name}/{rank}")[1] for rank in range(self.size)]
        mistakes = [said for said in heard if said is not None]
        if mistakes:
            raise UserError(mistakes[0])
        return result  # type: ignore[return-value]  # there was no mistake, so there is one

    def may_speak(self) -> bool:
        """Whether this process is the one to say why they end; true in one of them, once."""
        return self.store is None or self.store.add("said", 1) == 1


@contextmanager
def alone() -> Iterator[None]:
    """Keep libraries from setting up a training of several processes in this block."""
    kept = {name: os.environ.pop(name) for name in SEVERAL if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
