"""Collaborative indexing: items by clusters of the graph of what occurs together."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.catalog.sids import SidIndex
from recllm.data_prep.encoders.cooccurrence import Cooccurrence
from recllm.data_prep.quantizers import Indexer, Indexing, IndexingInput
from recllm.data_prep.quantizers._numbers import code_sizes, smallest_base
from recllm.data_prep.quantizers._spectral import spectral_clusters


class Collaborative(Indexer):
    """Collaborative indexing (CID) of Hua et al. (2023), "How to Index Item IDs for
    Recommendation Foundation Models": items that occur together share prefixes.

    As there, the graph of the items that occur together in training sequences is cut by spectral
    clustering, each part again, and an item is the clusters on its way and a number of its own
    in the last one. Three things differ. SIDs have one length, `sid.levels`, where there parts
    are cut until they are small: the number of clusters is that which makes all levels alike,
    at most `sid.codes`, and clusters too large for the levels below them pass items on. A pair at
    distance d ≤ window counts 1/d, where there all pairs of a sequence count 1. And degrees are
    regularised; see `spectral_clusters`.
    """

    window: int = Field(default=10, ge=1, description="how far apart two items may stand")

    def index(self, given: IndexingInput) -> Indexing:
        """See the base class; counts `items_without_neighbours`."""
        given.require_room()
        graph = Cooccurrence(window=self.window).count_pairs(
            list(given.sequences), len(given.items)
        )
        codes = _split(graph, given.levels, given.codes, given.seed)
        alone = int((np.diff(graph.indptr) == 0).sum())
        index = SidIndex(given.items.ids, codes, code_sizes(codes))
        return Indexing(index, counts={"items_without_neighbours": alone})


def _split(graph: Any, levels: int, codes: int, seed: int) -> NDArray[np.int32]:
    """(nodes, levels) the clusters of a graph's nodes, of each cluster's nodes, and so on.

    The last level numbers the nodes of a cluster in their order.
    """
    nodes = graph.shape[0]
    paths = np.zeros((nodes, levels), dtype=np.int32)
    if levels == 1:
        paths[:, 0] = np.arange(nodes)
        return paths
    clusters = smallest_base(nodes, levels)
    paths[:, 0] = spectral_clusters(graph, clusters, codes ** (levels - 1), seed)
    for cluster in range(clusters):
        members = np.flatnonzero(paths[:, 0] == cluster)
        if len(members):
            part = graph[members][:, members]
            paths[members, 1:] = _split(part, levels - 1, codes, seed)
    return paths
