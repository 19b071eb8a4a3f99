"""Co-occurrence: the items by the company they keep in the training sequences."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.catalog.items import Items
from recllm.data_prep.encoders import Encoded, Encoder, EncoderInput, State
from recllm.data_prep.encoders._vectors import truncated_svd


class Cooccurrence(Encoder):
    """Positive pointwise mutual information of item pairs, factorised by a truncated SVD.

    PPMI(a, b) = max(0, log(C[a, b] · ΣC / (ΣC[a, ·] · ΣC[·, b]))), where each pair of different
    items at distance d ≤ window in a sequence adds 1/d to C[a, b] and to C[b, a]; vectors are
    U · S^0.5 (Levy, Goldberg and Dagan, 2015). An item without a neighbour gets the zero vector,
    and so does a new one.
    """

    window: int = Field(default=3, ge=1, description="how far apart two items may stand")

    def encode(self, given: EncoderInput) -> Encoded:
        """One row of length 1 (0 without a neighbour) for each item: (items, dimensions)."""
        counts = self.count_pairs(given.sequences, len(given.items))
        vectors = truncated_svd(_ppmi(counts), given.dimensions, given.seed, exponent=0.5)
        return Encoded(vectors, {"width": np.array([given.dimensions])})

    def encode_new(self, items: Items, state: State, cache: Path | None = None) -> Encoded:
        """Zero vectors: an item that was in no training sequence has no neighbour."""
        del cache
        return Encoded(np.zeros((len(items), int(state["width"][0])), dtype=np.float32))

    def count_pairs(self, sequences: list[NDArray[np.int32]], items: int) -> Any:
        """C, the weighted pairs of the sequences: a symmetric (items, items) CSR matrix."""
        from scipy.sparse import coo_array

        flat = np.concatenate([np.empty(0, np.int32), *sequences])
        owner = np.repeat(np.arange(len(sequences)), [len(s) for s in sequences])
        counts = coo_array((items, items), dtype=np.float64).tocsr()
        for distance in range(1, self.window + 1):
            left, right = flat[:-distance], flat[distance:]
            is_pair = (owner[:-distance] == owner[distance:]) & (left != right)
            left, right = left[is_pair], right[is_pair]
            weights = np.full(len(left), 1 / distance)
            counts = counts + coo_array((weights, (left, right)), shape=(items, items)).tocsr()
        return (counts + counts.T).tocsr()


def _ppmi(counts: Any) -> Any:
    """Positive pointwise mutual information of a sparse matrix of counts, in float32."""
    from scipy.sparse import coo_array

    pairs = counts.tocoo()
    rows, columns = pairs.coords
    totals = counts.sum(axis=1)
    information = np.log(pairs.data * totals.sum() / (totals[rows] * totals[columns]))
    positive = information > 0
    entries = (information[positive].astype(np.float32), (rows[positive], columns[positive]))
    return coo_array(entries, shape=counts.shape).tocsr()
