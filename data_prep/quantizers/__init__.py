"""Indexing schemes: each gives every item its path, the tokens that a model writes for it.

Quantizers are those that turn item vectors into codes, whose collisions are then resolved.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.histories import Spans
from recllm.catalog.items import Items
from recllm.catalog.resolution import check_room, resolve_collisions
from recllm.catalog.sids import ItemIndex, SidIndex
from recllm.config.registry import Plugin
from recllm.data_prep.quantizers._extension import Extension, ExtensionInput
from recllm.data_prep.quantizers._vectors import check_vectors
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
        state: all that `extend` needs beside the index and the codebooks, as arrays by name.
        counts: of what the scheme found, for the manifest.
    """

    index: ItemIndex
    proposed: NDArray[np.int32] | None = None
    moved: int = 0
    moved_prefix: int = 0
    distortion: Distortion | None = None
    codebooks: NDArray[np.float32] | None = None
    state: Mapping[str, NDArray[Any]] = field(default_factory=dict)
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

    def extend(self, given: ExtensionInput) -> Extension:
        """Paths for items that come later, in the tokens that the model has.

        Raises:
            UserError: the scheme cannot do this, or there are no paths left for so many items.
        """
        del given
        raise UserError(
            f"the indexing scheme {self.name} cannot place items that come later; choose another "
            "sid.quantizer, or run the recipe again with them"
        )


@dataclass(frozen=True)
class Quantized:
    """Codes (items, levels) int32 and codebooks (levels, codes, dimensions) float32.

    An item's vector is approximated by the sum over levels of its codes' codebook rows. Where
    that is not the vector that was given, but a latent one, `vectors` holds it, and `state` what
    `Quantizer.represent` needs to find it again.
    """

    codes: NDArray[np.int32]
    codebooks: NDArray[np.float32]
    vectors: NDArray[np.float32] | None = None
    state: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Quantizer(Indexer):
    """Base of the quantizers, which give codes that need not be unique yet."""

    @property
    def uses_vectors(self) -> bool:
        """True."""
        return True

    def quantize(
        self, vectors: NDArray[np.float32], levels: int, codes: int, seed: int
    ) -> Quantized:
        """Give each row of `vectors` (items, dimensions) one code a level.

        Raises:
            UserError: there are no vectors, they are not finite, or all the same.
        """
        check_vectors(vectors)
        return self.fit(vectors, levels, codes, seed)

    @abstractmethod
    def fit(self, vectors: NDArray[np.float32], levels: int, codes: int, seed: int) -> Quantized:
        """As `quantize`, of vectors that can be quantized."""

    def represent(
        self, vectors: NDArray[np.float32], state: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float32]:
        """What the codebooks approximate of vectors: the vectors, or latent ones."""
        del state
        return vectors

    def index(self, given: IndexingInput) -> Indexing:
        """Quantize the vectors and resolve collisions; see the base class."""
        given.require_room()
        return resolve(self.quantize(given.vectors, given.levels, given.codes, given.seed), given)

    def extend(self, given: ExtensionInput) -> Extension:
        """The nearest codes, level by level, in the codebooks as they are; then collisions are
        resolved around the items so far. Counts `moved_to_another_prefix`.
        """
        from recllm.data_prep.quantizers import _kmeans  # torch: a recipe is checked without
        from recllm.models.devices import resolve_device

        given.require_room()
        assert given.codebooks is not None
        latent = self.represent(given.vectors, given.state)
        proposed = _kmeans.encode(latent, _kmeans.unstacked(given.codebooks, resolve_device()))
        settled = len(given.index)
        # Those of settled items are not looked at: zeros that are never touched take no memory.
        vectors = np.zeros((settled + len(latent), latent.shape[1]), dtype=np.float32)
        vectors[settled:] = latent
        codes = np.concatenate([given.sids.codes, proposed])
        found = resolve_collisions(codes, vectors, given.codebooks, settled)
        index = given.with_codes(found.codes[settled:])
        return Extension(index, found.moved, {"moved_to_another_prefix": found.moved_prefix})


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
        state=quantized.state,
    )
