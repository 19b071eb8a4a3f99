"""Spectral clustering of a sparse graph into clusters that are not too large."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of the subspace iteration: the spectrum of these graphs is flat, few steps would blur it.
ITERATIONS = 12


def spectral_clusters(affinity: Any, clusters: int, largest: int, seed: int) -> NDArray[np.int64]:
    """The cluster of each node, so that edges lie within clusters (Ng, Jordan and Weiss, 2002).

    k-means on the rows, scaled to length 1, of the leading eigenvectors of the normalised
    adjacency D^-½ A D^-½. To each degree the mean degree is added (Qin and Rohe, 2013): without
    it, a sparse graph falls apart into one large cluster and the few nodes on its rim. Nodes
    without an edge are alike, and form a cluster of their own where there is one to spare.

    Args:
        affinity: (nodes, nodes) sparse, symmetric, not negative.
        clusters: how many; some may end up empty where nodes cannot be told apart.
        largest: how many nodes a cluster may have; clusters × largest is at least the nodes.

    Returns:
        (nodes,) from 0 on.
    """
    from threadpoolctl import threadpool_limits

    if clusters == 1 or affinity.nnz == 0:  # nothing to go by: runs of the catalogue
        return np.arange(affinity.shape[0]) * clusters // max(affinity.shape[0], 1)
    with threadpool_limits(limits=1):  # else the cores decide how sums round
        rows = _embed(affinity, clusters, seed)
        labels, distances = _k_means(rows, clusters, seed)
    return spread(labels, distances, largest)


def _embed(affinity: Any, dimensions: int, seed: int) -> NDArray[np.float32]:
    """(nodes, dimensions) the leading eigenvectors, rows of length 1, or 0 without an edge."""
    from scipy.sparse import diags_array, eye_array
    from sklearn.preprocessing import normalize
    from sklearn.utils.extmath import randomized_svd

    degrees = np.asarray(affinity.sum(axis=1)).ravel()
    scale = diags_array(1 / np.sqrt(degrees + degrees.mean()))
    # Its eigenvalues lie between -1 and 1: one added, they are singular values in their order.
    shifted = (scale @ affinity @ scale + eye_array(len(degrees))).tocsr().astype(np.float32)
    options: Any = {"n_iter": ITERATIONS, "power_iteration_normalizer": "LU"}
    vectors = randomized_svd(shifted, dimensions, random_state=seed, **options)[0]
    vectors[degrees == 0] = 0
    return np.asarray(normalize(vectors), dtype=np.float32)


def _k_means(
    rows: NDArray[np.float32], clusters: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The cluster of each row, and its distance to the centre of each."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():  # fewer distinct rows than clusters are no fault
        warnings.simplefilter("ignore", ConvergenceWarning)
        kmeans = KMeans(clusters, random_state=seed)
        labels = kmeans.fit_predict(rows)
    return np.asarray(labels, dtype=np.int64), kmeans.transform(rows)


def spread(
    labels: NDArray[np.int64], distances: NDArray[np.floating], largest: int
) -> NDArray[np.int64]:
    """Clusters of at most `largest` members.

    A cluster that has more keeps the nearest; the others, the nearest to another cluster first
    (ties: lower index first), move to the nearest cluster with room.

    Args:
        labels: (members,) the nearest cluster of each.
        distances: (members, clusters).
    """
    labels = labels.copy()
    sizes = np.bincount(labels, minlength=distances.shape[1])
    own = np.take_along_axis(distances, labels[:, None], axis=1)[:, 0]
    moving: list[NDArray[np.int64]] = []
    for cluster in np.flatnonzero(sizes > largest):
        members = np.flatnonzero(labels == cluster)
        moving.append(members[np.argsort(own[members], kind="stable")][largest:])
    if not moving:
        return labels
    waiting = np.sort(np.concatenate(moving))
    sizes = np.minimum(sizes, largest)
    to_open = np.where(sizes < largest, distances[waiting], np.inf)
    for member in waiting[np.argsort(to_open.min(axis=1), kind="stable")]:
        labels[member] = np.where(sizes < largest, distances[member], np.inf).argmin()
        sizes[labels[member]] += 1
    return labels
