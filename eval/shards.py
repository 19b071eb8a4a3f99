"""Rankings in shards: each is kept when it is done, and several processes share them out."""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from recllm.artifacts.atomic import replacing
from recllm.artifacts.manifest import hash_json
from recllm.decoding.ranking import Ranking
from recllm.eval.engines import Questions, Ranker
from recllm.progress import progress
from recllm.world import POLL_SECONDS, World

#: Of what the engines compute: rankings of an older one are not taken up.
VERSION = 1
#: Rows of a shard. It does not depend on the processes, so that any number goes on from them.
ROWS = 1024


@dataclass(frozen=True)
class Shard:
    """Some rows' ranking.

    Attributes:
        seconds: what ranking them took.
        counts: see `Ranker.counts`.
    """

    ranking: Ranking
    seconds: float
    counts: Mapping[str, int]

    def write(self, path: Path) -> None:
        """Write it, whole or not at all."""
        said = {"seconds": repr(self.seconds), "counts": json.dumps(dict(self.counts))}
        arrays = {"items": self.ranking.items, "scores": self.ranking.scores}
        with replacing(path) as temporary:
            save_file(arrays, temporary, said)

    @classmethod
    def read(cls, path: Path) -> "Shard | None":
        """The one in a file; None where there is no such file, or it is damaged."""
        try:
            with safe_open(path, framework="numpy") as file:
                said = file.metadata()
                ranking = Ranking(file.get_tensor("items"), file.get_tensor("scores"))
        except (OSError, SafetensorError):
            return None
        return cls(ranking, float(said["seconds"]), json.loads(said["counts"]))


class ShardedRanker(Ranker):
    """Ranks what has not been ranked before, with the other processes where there are some.

    Shards lie in a folder named by all that decides them: the checkpoint's files, the engine and
    its settings, the prompts and what is excluded. So an evaluation that was killed goes on where
    it was, two at once do no harm to each other, and one with other cutoffs ranks nothing anew.

    Attributes:
        seconds: what the last ranking took, summed over shards, whenever they were ranked.
    """

    def __init__(
        self, ranker: Ranker, identity: Mapping[str, Any], folder: Path, world: World
    ) -> None:
        """Shard a ranker.

        Args:
            identity: what decides a ranking beside the questions and the ranker's choices.
            folder: of all shards.
            world: the processes that have the same ranker and are asked the same, in one order.
        """
        super().__init__()
        self._ranker, self._folder, self._world = ranker, folder, world
        # The size of batches goes by the memory that is free, and decides no ranking.
        chosen = {name: value for name, value in ranker.choices.items() if name != "batch_tokens"}
        self._identity = [VERSION, dict(identity), chosen]
        self.seconds = 0.0

    @property
    def choices(self) -> dict[str, Any]:
        """The ranker's."""
        return self._ranker.choices

    def rank(self, questions: Questions, advance: Callable[[int], None] | None = None) -> Ranking:
        """See the base class."""
        folder = self._folder / self._key(questions)
        parts = [slice(start, start + ROWS) for start in range(0, len(questions), ROWS)]
        paths = [folder / f"{part.start}.safetensors" for part in parts]
        with progress("ranking", len(questions)) as shown:
            told = advance or shown
            found: dict[int, Shard] = {}
            for place in range(self._world.rank, len(parts), self._world.size):
                asked = questions.part(parts[place])
                known = Shard.read(paths[place])
                found[place] = known or self._rank_shard(asked, told)
                if known is None:
                    found[place].write(paths[place])
                else:
                    told(len(asked))
            shards = [found.get(i) or self._wait_for(path) for i, path in enumerate(paths)]
        self.seconds = sum(shard.seconds for shard in shards)
        counts: Counter[str] = Counter()
        for shard in shards:
            counts.update(shard.counts)  # unlike +, keeps what is 0
        self.counts = dict(counts)
        return join([shard.ranking for shard in shards])

    def _rank_shard(self, asked: Questions, advance: Callable[[int], None]) -> Shard:
        started = time.monotonic()
        ranking = self._ranker.rank(asked, advance)
        return Shard(ranking, time.monotonic() - started, self._ranker.counts)

    def _wait_for(self, path: Path) -> Shard:
        """A shard that another process may still be at; where that fails, all are ended."""
        while (shard := Shard.read(path)) is None:
            time.sleep(POLL_SECONDS)
        return shard

    def _key(self, questions: Questions) -> str:
        return hash_json([*self._identity, digest(questions)])[:16]


def join(rankings: Sequence[Ranking]) -> Ranking:
    """All rows of several rankings; where only some items are asked for, one may be narrower."""
    width = max(ranking.items.shape[1] for ranking in rankings)
    fill: dict[str, Any] = {"items": -1, "scores": -np.inf}
    columns = {
        name: [
            np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=value)
            for part in (getattr(ranking, name) for ranking in rankings)
        ]
        for name, value in fill.items()
    }
    return Ranking(np.concatenate(columns["items"]), np.concatenate(columns["scores"]))


def digest(questions: Questions) -> str:
    """sha256 of everything in some questions."""
    found = hashlib.sha256()
    for lists in (questions.prompts, questions.exclude, questions.only):
        found.update(b"none" if lists is None else str(len(lists)).encode())
        for numbers in lists or ():
            array = np.asarray(numbers, dtype=np.int64)
            found.update(len(array).to_bytes(8, "little") + array.tobytes())
    return found.hexdigest()
