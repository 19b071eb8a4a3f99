"""Indexing schemes: each gives every item its path, the tokens that a model writes for it.

Quantizers are those that turn item vectors into codes, whose collisions are then resolved.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.histories import Spans
from recllm.catalog.items import Items
from recllm.catalog.resolution import check_room, resolve_collisions
from recllm.catalog.sids import ItemIndex, SidIndex
from recllm.config.registry import Plugin
from recllm.errors import UserError


@dataclass(frozen=True)
class IndexingInput:
    """All that a scheme may see: no validation or test interaction is reachable from here.

    Attributes:
        items: the catalogue.
        sequences: the training part of every sequence.
        levels: how many codes the recipe gives a SID at most.
        codes: how many codes it gives a level.
        read_vectors: reads `vectors`; only there for schemes that say that they use them.
    """

    items: Items
    sequences: Spans
    levels: int
    codes: int
    seed: int
    read_vectors: Callable[[], NDArray[np.float32]]

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(items, dimensions), from the stage embed; read when first asked for."""
        return self.read_vectors()

    def require_room(self) -> None:
        """Refuse a catalogue that is empty, or larger than the SIDs that a recipe allows.

        Raises:
            UserError: it is.
        """
        if not len(self.items):
            raise UserError("expected items to index, found none; check the filter's counts")
        check_room(len(self.items), self.levels, self.codes)


@dataclass(frozen=True)
class Distortion:
    """What quantizing vectors lost: mean squared errors over items and dimensions.

    Attributes:
        before, after: of the codes as quantized, and with collisions resolved.
        variance: of the vectors, the mean over their dimensions.
    """

    before: float
    after: float
    variance: float


@dataclass(frozen=True)
class Indexing:
    """What a scheme gives.

    Attributes:
        index: the path of each item.
        proposed: (items, levels) int32, equal rows for items that collided before their paths
            were told apart; None where there was nothing to tell apart.
        moved: items whose path was changed for that.
        moved_prefix: those of them that left their prefix.
        distortion: None where no vectors were quantized.
        codebooks: (levels, codes, dimensions) float32, what the codes stand for.
        counts: of what the scheme found, for the manifest.
    """

    index: ItemIndex
    proposed: NDArray[np.int32] | None = None
    moved: int = 0
    moved_prefix: int = 0
    distortion: Distortion | None = None
    codebooks: NDArray[np.float32] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


class Indexer(Plugin):
    """Base of the indexing schemes. Subclasses are one file each; their fields are options."""

    @property
    def variable_depth(self) -> bool:
        """Whether items have paths of different lengths, whatever the catalogue."""
        return False

    @property
    def uses_vectors(self) -> bool:
        """Whether the scheme needs the stage embed."""
        return False

    def input_files(self) -> list[Path]:
        """The files that the scheme reads beside its input."""
        return []

    @abstractmethod
    def index(self, given: IndexingInput) -> Indexing:
        """A path for each item of the catalogue, in its order.

        Raises:
            UserError: the catalogue has more items than the recipe has SIDs, or lacks what the
                scheme goes by.
        """


@dataclass(frozen=True)
class Quantized:
    """Codes (items, levels) int32 and codebooks (levels, codes, dimensions) float32.

    An item's vector is approximated by the sum over levels of its codes' codebook rows. Where
    that is not the vector that was given, but a latent one, `vectors` holds it.
    """

    codes: NDArray[np.int32]
    codebooks: NDArray[np.float32]
    vectors: NDArray[np.float32] | None = None


class Quantizer(Indexer):
    """Base of the quantizers, which give codes that need not be unique yet."""

    @property
    def uses_vectors(self) -> bool:
        """True."""
        return True

    @abstractmethod
    def quantize(
        self, vectors: NDArray[np.float32], levels: int, codes: int, seed: int
    ) -> Quantized:
        """Give each row of `vectors` (items, dimensions) one code a level."""

    def index(self, given: IndexingInput) -> Indexing:
        """Quantize the vectors and resolve collisions; see the base class."""
        given.require_room()
        return resolve(self.quantize(given.vectors, given.levels, given.codes, given.seed), given)


def resolve(quantized: Quantized, given: IndexingInput) -> Indexing:
    """Codes as an index in which every item has its own SID."""
    vectors = given.vectors if quantized.vectors is None else quantized.vectors
    resolution = resolve_collisions(quantized.codes, vectors, quantized.codebooks)
    return Indexing(
        index=SidIndex(given.items.ids, resolution.codes, quantized.codebooks.shape[1]),
        proposed=quantized.codes,
        moved=resolution.moved,
        moved_prefix=resolution.moved_prefix,
        distortion=Distortion(
            resolution.mse_before, resolution.mse_after, float(vectors.var(axis=0).mean())
        ),
        codebooks=quantized.codebooks,
    )
