"""Quantizers: each turns item vectors into codes, which need not be unique yet."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recllm.config.registry import Plugin


@dataclass(frozen=True)
class Quantized:
    """Codes (items, levels) int32 and codebooks (levels, codes, dimensions) float32.

    An item's vector is approximated by the sum over levels of its codes' codebook rows.
    `vectors` (items, dimensions) is what the codebooks approximate, where it is not the given
    vectors.
    """

    codes: NDArray[np.int32]
    codebooks: NDArray[np.float32]
    vectors: NDArray[np.float32] | None = None


class Quantizer(Plugin):
    """Base of the quantizers. Subclasses are one file each and take their options as fields."""

    @abstractmethod
    def quantize(
        self, vectors: NDArray[np.float32], levels: int, codes: int, seed: int
    ) -> Quantized:
        """Give each row of `vectors` (items, dimensions) one code a level."""
