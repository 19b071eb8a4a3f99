"""Items that come after an index was made: what a scheme is given of them, and what it gives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.catalog.items import Items
from recllm.catalog.sids import ItemIndex, SidIndex
from recllm.errors import UserError


@dataclass(frozen=True)
class ExtensionInput:
    """New items, and what is kept of the index that they are added to.

    Attributes:
        index: the paths of the items so far, none of which changes.
        items: the new items; none of them is in the index.
        seed: the recipe's.
        codebooks: those that the scheme gave with its index, (levels, codes, dimensions).
        state: the arrays that it kept beside them; see `Indexing`.
        read_vectors: reads `vectors`; only there for schemes that use vectors.
    """

    index: ItemIndex
    items: Items
    seed: int
    codebooks: NDArray[np.float32] | None
    state: Mapping[str, NDArray[Any]]
    read_vectors: Callable[[], NDArray[np.float32]]

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(new items, dimensions), encoded as those of the items so far were."""
        return self.read_vectors()

    @property
    def sids(self) -> SidIndex:
        """The index, which must be one of SIDs of one length."""
        assert isinstance(self.index, SidIndex) and not self.index.variable_depth
        return self.index

    def require_room(self) -> None:
        """Refuse more items than the model's SID tokens make SIDs.

        Raises:
            UserError: there are more.
        """
        room, items = int(np.prod(self.sids.sizes, dtype=object)), len(self.index) + len(self.items)
        if items > room:
            raise UserError(
                f"expected at most {room} items, as many as the model's SID tokens make SIDs "
                f"({' × '.join(map(str, self.sids.sizes))}), found {items}: {len(self.index)} that "
                f"have SIDs and {len(self.items)} new ones; train a model with more sid.codes or "
                "sid.levels"
            )

    def with_codes(self, new: NDArray[np.int32]) -> SidIndex:
        """The SIDs so far and those of the new items (items, levels), in the same tokens."""
        codes = np.concatenate([self.sids.codes, new])
        ids = [*self.index.item_ids, *self.items.ids]
        return SidIndex(ids, codes, self.sids.codes_per_level)


@dataclass(frozen=True)
class Extension:
    """What a scheme gives for items that come later.

    Attributes:
        index: the paths of the items so far, as they were, and then those of the new items.
        moved: new items whose path was changed to tell it apart from another's.
        counts: of what the scheme found, to be told.
    """

    index: ItemIndex
    moved: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
