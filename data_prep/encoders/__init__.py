"""Encoders: each turns the items into vectors, from their text or from training sequences."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.items import Items
from recllm.config.registry import Plugin


@dataclass(frozen=True)
class EncoderInput:
    """All that an encoder may see: no validation or test interaction is reachable from here."""

    items: Items
    #: The training part of every sequence, as item indices.
    sequences: list[NDArray[np.int32]]
    #: Width of the vectors that the recipe asks for.
    dimensions: int
    seed: int


class Encoder(Plugin):
    """Base of the encoders. Subclasses are one file each and take their options as fields."""

    @abstractmethod
    def encode(self, given: EncoderInput) -> NDArray[np.float32]:
        """One row for each item of the catalogue, in its order, all finite."""
