"""What the simulated users thought of what they took: ratings from 1 to 5.

A rating is the rounded sum of a mean, how generous the user is, how good the item is (which tells
nothing of how popular it is), a little more for the user's first interest, and chance. Its random
numbers are streams of their own: the interactions do not depend on them.
"""

import numpy as np
from numpy.typing import NDArray

from recllm.data_prep.sources._simulated_users import Users
from recllm.data_prep.sources._simulated_world import World

MEAN = 3.4
#: Standard deviations, in points.
GENEROSITY, QUALITY, CHANCE = 1.0, 0.6, 0.6
FIRST_INTEREST = 0.4
LOWEST, HIGHEST = 1, 5
#: Apart from the streams of the users' choices and of the catalogue.
STREAM = 1


def item_qualities(items: int, seed: int) -> NDArray[np.float64]:
    """(items,) how much better than others each item is, in points."""
    return _logistic(np.random.default_rng([seed, STREAM]).random(items), QUALITY)


def rate(
    world: World, users: Users, qualities: NDArray[np.float64], seed: int
) -> NDArray[np.float64]:
    """(users, longest) the ratings of the users' items, whole numbers; those of padding are any.

    A user's are the same whatever other users are drawn with it.
    """
    count, longest = users.items.shape
    draws = -(-(longest + 1) // 4) * 4  # Philox's block
    stream = np.random.Philox(key=seed + (STREAM << 64))
    stream.advance(users.first * draws // 4)
    uniform = np.random.Generator(stream).random((count, draws))
    generosity = _logistic(uniform[:, 0], GENEROSITY)[:, None]
    chance = _logistic(uniform[:, 1 : longest + 1], CHANCE)
    interest = world.category[users.items] == users.interests[:, :1]
    rating = MEAN + generosity + qualities[users.items] + FIRST_INTEREST * interest + chance
    return np.clip(np.rint(rating), LOWEST, HIGHEST)


def _logistic(uniform: NDArray[np.float64], deviation: float) -> NDArray[np.float64]:
    """Logistic numbers around 0 from uniform ones."""
    inside = np.clip(uniform, 1e-12, 1 - 1e-12)
    return np.log(inside / (1 - inside)) * deviation * np.sqrt(3) / np.pi
