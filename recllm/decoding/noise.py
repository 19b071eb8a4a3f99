"""Random numbers that are a function of what they are for: of a row, and of a node or item.

A generator that is drawn from in turn gives a row other numbers in another batch, or on another
number of processes. Here a number is looked up by its key, in any order and on any device.
"""

import torch
from torch import Tensor

# SplitMix64's increment and multipliers, as signed integers.
_STEP = 0x9E3779B97F4A7C15 - 2**64
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64


def split_mix(seeds: Tensor, places: Tensor) -> Tensor:
    """The 64 bits at `places`, from 0 on, of the SplitMix64 streams that start at `seeds` (int64).

    Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators",
    https://doi.org/10.1145/2660193.2660195.
    """
    bits = seeds + (torch.as_tensor(places, device=seeds.device) + 1) * _STEP
    bits = (bits ^ _shifted(bits, 30)) * _FIRST
    bits = (bits ^ _shifted(bits, 27)) * _SECOND
    return bits ^ _shifted(bits, 31)


def _shifted(bits: Tensor, places: int) -> Tensor:
    """Shifted to the right, with zeros from the left: int64's own shift brings in the sign."""
    return (bits >> places) & (2 ** (64 - places) - 1)


def row_seeds(seed: int, rows: Tensor, step: int) -> Tensor:
    """A seed for each of `rows` (int64, any shape), another one at each step of a run."""
    run = split_mix(torch.tensor(seed), torch.tensor(step))
    return split_mix(run.to(rows.device), rows)


def gumbel(seeds: Tensor, places: Tensor) -> Tensor:
    """Standard Gumbel noise of each place of each row, always the same for the same seed.

    Args:
        seeds: (rows,) int64.
        places: (rows, …) int64, from 0 on.

    Returns:
        (rows, …) fp64, finite.
    """
    bits = split_mix(seeds.view(-1, *(1,) * (places.ndim - 1)), places)
    # 52 bits and a half: fp64 holds the result exactly, and it is neither 0 nor 1.
    uniform = (_shifted(bits, 12).double() + 0.5) * 2.0**-52
    return -(-uniform.log()).log()
