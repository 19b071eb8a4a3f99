"""Seeded draws that depend on what is drawn for alone, and not on what stands before it."""

import zlib

import numpy as np
from numpy.typing import NDArray


def draw(keys: NDArray[np.int64], seed: int, purpose: str, copy: int = 0) -> NDArray[np.uint64]:
    """(keys,) a random number for each key: the same wherever and among whatever it stands.

    The finaliser of SplitMix64 (Steele, Lea and Flood, 2014), over the key and a number for the
    other arguments.

    Args:
        purpose: draws for different purposes are independent.
        copy: of the example, where it is taken more than once.
    """
    salt = np.array([seed, zlib.crc32(purpose.encode()), copy], dtype=np.uint64)
    state = np.uint64(0)
    with np.errstate(over="ignore"):
        for part in salt:
            state = _mixed(state + part + np.uint64(0x9E3779B97F4A7C15))
        return _mixed(keys.astype(np.uint64) + state)


def choose(
    keys: NDArray[np.int64], weight: float, cap: int | None, seed: int, task: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which examples of a task are trained, and the how manieth time each is taken.

    Args:
        weight: how often each is taken; a fraction is a random part of them.
        cap: at most so many in all, a random part; None: all.

    Returns:
        Indices into `keys` and the number of the copy, from 0; copy after copy.
    """
    whole, fraction = divmod(weight, 1)
    part = round(fraction * len(keys))
    index = np.tile(np.arange(len(keys)), int(whole) + 1)
    copy = np.repeat(np.arange(int(whole) + 1), len(keys))
    lots = [draw(keys, seed, f"{task} lot", int(number)) for number in range(int(whole) + 1)]
    kept = np.ones(len(index), dtype=bool)
    kept[int(whole) * len(keys) :] = _lowest(lots[-1], part)
    index, copy = index[kept], copy[kept]
    if cap is not None and cap < len(index):
        within = _lowest(np.concatenate(lots)[kept], cap)
        index, copy = index[within], copy[within]
    return index, copy


def _lowest(lots: NDArray[np.uint64], count: int) -> NDArray[np.bool_]:
    """Whether each is among the `count` lowest; of equal ones the first."""
    chosen = np.zeros(len(lots), dtype=bool)
    chosen[np.argsort(lots, kind="stable")[:count]] = True
    return chosen


def _mixed(state: np.uint64 | NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = np.asarray(state, dtype=np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
