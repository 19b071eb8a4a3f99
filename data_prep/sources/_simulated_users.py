"""The simulated users: who they are, what they choose next, and what could be known of that.

A user has a few interests (categories) and moves from item to item. Each choice is a draw from

    p(i | last, interests) = sequel · [i = sequel of last] + companion · [i = companion of last]
                             + rest · Σ_c interest(c) · popularity(i | c)

where an item without a sequel or companion leaves that share to the rest. A draw that the user
has had already is drawn again, up to ATTEMPTS draws in all; the last one stands.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recllm.data_prep.sources._simulated_world import World

SEQUEL_SHARE = 0.45
COMPANION_SHARE = 0.12
INTERESTS = 2
#: How much a user prefers the first interest to the second.
INTEREST_WEIGHTS = np.array([0.65, 0.35])
ATTEMPTS = 3
SHORTEST = 3
#: Nobody has more than this many times the mean.
LONGEST_FACTOR = 4
FIRST_DAY = 1_577_836_800  # 2020-01-01, in seconds
DAY = 86_400
PERIOD_DAYS = 1000
MEAN_GAP_DAYS = 5.0
#: Uniform numbers that a user takes beside those of the steps: length, start, interests.
USER_DRAWS = 4
STEP_DRAWS = 4 * ATTEMPTS


@dataclass(frozen=True)
class Users:
    """A range of users; row u of each array is the user number `first + u`."""

    first: int
    interests: NDArray[np.int64]  # (users, INTERESTS) categories
    lengths: NDArray[np.int64]
    items: NDArray[np.int32]  # (users, longest), -1 after a user's last item
    times: NDArray[np.int64]  # (users, longest) seconds since 1970


@dataclass(frozen=True)
class Population:
    """Users over a world. A user is the same whatever other users are drawn with it."""

    world: World
    mean_length: float
    seed: int

    @property
    def longest(self) -> int:
        """The most interactions that a user can have."""
        return max(SHORTEST, int(LONGEST_FACTOR * self.mean_length))

    def draw(self, first: int, count: int) -> Users:
        """The users `first` to `first + count - 1` with all that they do."""
        uniform = self._uniforms(first, count)
        lengths = self._lengths(uniform[:, 0])
        interests = self._interests(uniform[:, 2 : 2 + INTERESTS])
        steps = uniform[:, USER_DRAWS:].reshape(count, self.longest, STEP_DRAWS)
        items = np.full((count, self.longest), -1, dtype=np.int32)
        for step in range(self.longest):
            active = np.flatnonzero(lengths > step)
            items[active, step] = self._choose(
                items[active, :step], interests[active], steps[active, step]
            )
        gaps = -MEAN_GAP_DAYS * DAY * np.log1p(-steps[:, :, STEP_DRAWS - 1])
        start = FIRST_DAY + uniform[:, 1] * PERIOD_DAYS * DAY
        times = (start[:, None] + np.cumsum(gaps, axis=1)).astype(np.int64)
        return Users(first, interests, lengths, items, times)

    def next_item_probabilities(
        self, history: NDArray[np.int32], interests: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """The exact distribution of the next item of each user: (users, items).

        Args:
            history: (users, steps) items so far, -1 for padding on the left.
            interests: (users, INTERESTS) categories.
        """
        users = np.arange(len(history))
        rest = np.ones(len(history))
        chosen = np.zeros((len(history), self.world.items))
        if history.shape[1]:
            for target, share in self._jumps(history[:, -1]):
                has = target >= 0
                chosen[users[has], target[has]] += share
                rest[has] -= share
        for column, weight in enumerate(INTEREST_WEIGHTS):
            liked = self.world.category[None, :] == interests[:, column, None]
            chosen += rest[:, None] * weight * liked * self.world.popularity[None, :]
        seen = np.zeros_like(chosen, dtype=bool)
        row, step = np.nonzero(history >= 0)
        seen[row, history[row, step]] = True
        again = np.where(seen, chosen, 0).sum(axis=1, keepdims=True)
        fresh = sum(again**attempt for attempt in range(ATTEMPTS))
        return chosen * np.where(seen, again ** (ATTEMPTS - 1), fresh)

    def _uniforms(self, first: int, count: int) -> NDArray[np.float64]:
        """Each user's own stretch of one stream of random numbers."""
        draws = USER_DRAWS + self.longest * STEP_DRAWS  # a multiple of 4, Philox's block
        stream = np.random.Philox(key=self.seed)
        stream.advance(first * draws // 4)
        return np.random.Generator(stream).random((count, draws))

    def _lengths(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        """SHORTEST and a geometric number more, so that the mean is as asked for."""
        more = max(self.mean_length - SHORTEST, 1e-9)
        drawn = np.floor(np.log1p(-uniform) / np.log(more / (1 + more)))
        return np.minimum(SHORTEST + drawn, self.longest).astype(np.int64)

    def _interests(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        edges = np.cumsum(self.world.category_share)
        return np.minimum(np.searchsorted(edges, uniform, side="right"), len(edges) - 1)

    def _jumps(self, last: NDArray[np.int32]) -> list[tuple[NDArray[np.int32], float]]:
        """Where a last item leads by itself, and how often."""
        return [
            (self.world.sequel[last], SEQUEL_SHARE),
            (self.world.companion[last], COMPANION_SHARE),
        ]

    def _choose(
        self, history: NDArray[np.int32], interests: NDArray[np.int64], uniform: NDArray[np.float64]
    ) -> NDArray[np.int32]:
        """One step of each user: draw, and draw again what was had already."""
        chosen = self._draw_once(history, interests, uniform[:, :3])
        for attempt in range(1, ATTEMPTS):
            seen = np.flatnonzero((history == chosen[:, None]).any(axis=1))
            numbers = uniform[seen, 4 * attempt : 4 * attempt + 3]
            chosen[seen] = self._draw_once(history[seen], interests[seen], numbers)
        return chosen

    def _draw_once(
        self, history: NDArray[np.int32], interests: NDArray[np.int64], uniform: NDArray[np.float64]
    ) -> NDArray[np.int32]:
        column = np.searchsorted(np.cumsum(INTEREST_WEIGHTS)[:-1], uniform[:, 1], side="right")
        category = interests[np.arange(len(interests)), column]
        edges = self.world.popularity_edges
        place = np.searchsorted(edges, category + uniform[:, 2], side="right")
        first, end = self.world.first_item[category], self.world.first_item[category + 1]
        chosen = np.clip(place, first, end - 1).astype(np.int32)
        if history.shape[1]:
            left = uniform[:, 0]
            for target, share in self._jumps(history[:, -1]):
                has = target >= 0
                jumps = has & (left >= 0) & (left < share)
                chosen[jumps] = target[jumps]
                left = np.where(jumps, -1.0, left - np.where(has, share, 0.0))
        return chosen
