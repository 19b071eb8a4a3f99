"""Encoders: each turns the items into vectors, from their text or from training sequences."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.items import Items
from recllm.config.registry import Plugin
from recllm.errors import UserError

#: What an encoder has learned, as arrays by name: stored as safetensors.
State: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class EncoderInput:
    """All that an encoder may see: no validation or test interaction is reachable from here."""

    items: Items
    #: The training part of every sequence, as item indices.
    sequences: list[NDArray[np.int32]]
    #: Width of the vectors that the recipe asks for, where the encoder can choose it.
    dimensions: int
    seed: int
    #: A folder that outlives the stage, for what other runs can use again; None: there is none.
    cache: Path | None = None


@dataclass(frozen=True)
class Encoded:
    """What an encoder gives.

    Attributes:
        vectors: (items, width) float32, one row for each item in the catalogue's order, all finite.
        state: all that `encode_new` needs beside the encoder's options.
        counts: for the manifest: what was left out, cut or filled in.
    """

    vectors: NDArray[np.float32]
    state: State = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


class Encoder(Plugin):
    """Base of the encoders. Subclasses are one file each and take their options as fields."""

    def settings(self) -> dict[str, Any]:
        """The options that decide the vectors, as JSON values; for files, their content's hash.

        Raises:
            UserError: a file does not exist.
        """
        return self.model_dump(mode="json")

    def check(self) -> None:
        """Refuse options that cannot work here, before any stage runs.

        Raises:
            UserError: they cannot.
        """

    @abstractmethod
    def encode(self, given: EncoderInput) -> Encoded:
        """Encode the catalogue.

        Raises:
            UserError: the items, or files that the options name, cannot be encoded.
        """

    def encode_new(self, items: Items, state: State, cache: Path | None = None) -> Encoded:
        """Encode items that came later, without learning anything from them.

        An old item gets the vector that it has already, if only its text decides it.

        Args:
            state: that of `encode`.
            cache: as in EncoderInput.

        Raises:
            UserError: the encoder cannot do this.
        """
        del items, state, cache
        raise UserError(
            f"the encoder {self.name} cannot encode items that come later; choose another"
        )
