"""A log that comes with recllm: any size, the same for the same seed, and with a known ceiling."""

import logging
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from recllm.data_prep.sources import Source
from recllm.data_prep.sources._simulated_ratings import item_qualities, rate
from recllm.data_prep.sources._simulated_users import SHORTEST, Population, Users
from recllm.data_prep.sources._simulated_world import build_world
from recllm.data_prep.tables import Connection

log = logging.getLogger(__name__)

#: Users drawn at once: bounds the memory, and does not change the log.
CHUNK_USERS = 4096
#: Probabilities (users × items) that the oracle holds at once.
ORACLE_CELLS = 2**22
ORACLE_USERS = 1000


class Simulated(Source):
    """Users with latent interests, in a catalogue of categories, series and companions.

    A recommender can learn from it that volume 3 follows volume 2, which items go together and
    which categories a user likes; popularity alone gets little of it. The oracle's hit rate,
    that of the generator's own probabilities, is what no recommender can be expected to pass.
    Each interaction has a rating from 1 to 5, by the user, the item and chance.
    """

    version: ClassVar = 2  # rates the interactions

    users: int = Field(default=4000, ge=1)
    items: int = Field(default=800, ge=2)
    interactions_per_user: float = Field(default=10.0, ge=SHORTEST, description="the mean")
    simulation_seed: int = Field(default=0, ge=0)

    def ingest(self, con: Connection, out: Path) -> dict[str, int]:
        """Write the log, chunk by chunk of users, and log the oracle's hit@10."""
        world = self._population.world
        pq.write_table(world.table(), out / "items.parquet")
        rows = 0
        schema = pa.schema(
            {
                "row": pa.int64(),
                "user_id": pa.string(),
                "item_id": pa.string(),
                "timestamp": pa.int64(),
                "rating": pa.float64(),
            }
        )
        with pq.ParquetWriter(out / "interactions.parquet", schema) as writer:
            for users in self._chunks(self.users, CHUNK_USERS):
                table = self._table(users, rows)
                writer.write_table(table)
                rows += table.num_rows
        hits = self.oracle_hit_rate()
        log.info("simulated log: the oracle's hit@10 is %.3f, no model can be expected above", hits)
        return {"interactions": rows, "users": self.users, "items": self.items}

    def oracle_hit_rate(self, k: int = 10, users: int = ORACLE_USERS) -> float:
        """How often the last item of a user is among the k likeliest, given all before it.

        The oracle knows the users' interests and the generator. The rate is over the first
        `users` users of the log as it is before any filter. Ties go to the lower item.
        """
        size = max(1, ORACLE_CELLS // self.items)
        hits = 0
        for chunk in self._chunks(min(users, self.users), size):
            history, target = _last_out(chunk)
            chance = self._population.next_item_probabilities(history, chunk.interests)
            of_target = np.take_along_axis(chance, target[:, None], axis=1)
            earlier = np.arange(self.items)[None, :] < target[:, None]
            rank = ((chance > of_target) | ((chance == of_target) & earlier)).sum(axis=1)
            hits += int((rank < k).sum())
        return hits / min(users, self.users)

    @cached_property
    def _population(self) -> Population:
        rng = np.random.default_rng(self.simulation_seed)
        world = build_world(self.items, rng)
        return Population(world, self.interactions_per_user, self.simulation_seed)

    def _ratings(self, users: Users) -> NDArray[np.float64]:
        seed = self.simulation_seed
        return rate(self._population.world, users, self._qualities, seed)

    @cached_property
    def _qualities(self) -> NDArray[np.float64]:
        return item_qualities(self.items, self.simulation_seed)

    def _chunks(self, users: int, size: int):
        for first in range(0, users, size):
            yield self._population.draw(first, min(size, users - first))

    def _table(self, users: Users, first_row: int) -> pa.Table:
        width = len(str(self.users - 1))
        ids = pa.array([f"u{users.first + u:0{width}d}" for u in range(len(users.lengths))])
        happened = users.items >= 0
        user, _ = np.nonzero(happened)
        return pa.table(
            {
                "row": pa.array(np.arange(first_row, first_row + len(user)), pa.int64()),
                "user_id": ids.take(pa.array(user)),
                "item_id": self._population.world.item_ids.take(pa.array(users.items[happened])),
                "timestamp": pa.array(users.times[happened], pa.int64()),
                "rating": pa.array(self._ratings(users)[happened], pa.float64()),
            }
        )


def _last_out(users: Users) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Each user's items but the last, at the right of their row (-1 before), and the last."""
    rows = np.arange(len(users.lengths))
    target = users.items[rows, users.lengths - 1]
    longest = users.items.shape[1] - 1
    shift = np.arange(longest)[None, :] - (longest - (users.lengths - 1))[:, None]
    history = np.take_along_axis(users.items, np.maximum(shift, 0), axis=1)
    return np.where(shift >= 0, history, -1).astype(np.int32), target
