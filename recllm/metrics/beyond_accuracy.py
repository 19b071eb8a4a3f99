"""What hit rates do not show: how much of the catalogue is recommended, and how unlike the items.

`items` is everywhere (rows, k) int, the items recommended to each row, best first, -1 where a row
has fewer than k.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def recommendation_counts(items: NDArray[Any], catalogue: int) -> NDArray[np.int64]:
    """(catalogue,) how many rows each item is recommended to."""
    return np.bincount(items[items >= 0], minlength=catalogue)


def coverage(items: NDArray[Any], catalogue: int) -> float:
    """The share of the catalogue's items that are recommended to at least one row."""
    return float(np.mean(recommendation_counts(items, catalogue) > 0))


def gini(items: NDArray[Any], catalogue: int) -> float:
    """The Gini coefficient of the recommendation counts over the whole catalogue.

    0 where every item is recommended equally often, near 1 where few items take everything;
    0 where nothing is recommended.
    """
    counts = np.sort(recommendation_counts(items, catalogue))
    total = int(counts.sum())
    if total == 0:
        return 0.0
    weights = 2 * np.arange(1, catalogue + 1) - catalogue - 1
    return float(weights @ counts / (catalogue * total))


def novelty(items: NDArray[Any], popularity: NDArray[Any]) -> float:
    """The mean of -log2 of the popularity share of the recommended items, in bits.

    Args:
        popularity: (catalogue,) training interactions of each item. An item without any counts
            as one that has a single interaction, so that the mean stays finite.
    """
    shown = items[items >= 0]
    if not shown.size:
        return 0.0
    share = np.maximum(popularity, 1) / max(int(popularity.sum()), 1)
    return float(np.mean(-np.log2(share[shown])))


def diversity(items: NDArray[Any], groups: NDArray[Any]) -> float:
    """The share of pairs of a row's items that lie in different groups, averaged over rows.

    Args:
        groups: (catalogue,) the group of each item; eval takes the first code of the SID, a
            coarse cluster of the item vectors.

    Rows with fewer than two items have no pairs and do not count; 0 where no row has any.
    """
    present = items >= 0
    group = np.where(present, groups[items], -1)
    left, right = np.triu_indices(items.shape[1], k=1)
    pairs = present[:, left] & present[:, right]
    differ = (group[:, left] != group[:, right]) & pairs
    has_pairs = pairs.any(axis=1)
    if not has_pairs.any():
        return 0.0
    return float(np.mean(differ.sum(axis=1)[has_pairs] / pairs.sum(axis=1)[has_pairs]))


def popularity_profile(
    items: NDArray[Any], popularity: NDArray[Any], groups: int = 10
) -> NDArray[np.float64]:
    """(groups,) the share of the recommended items in each part of the catalogue; sums to 1.

    The catalogue's items, most popular first, are cut into groups of equal size, up to one; among
    equally popular items the first in the catalogue comes first. All 0 where nothing is
    recommended.

    Args:
        popularity: (catalogue,) training interactions of each item.
    """
    place = np.empty(len(popularity), dtype=np.int64)
    place[np.argsort(-popularity, kind="stable")] = np.arange(len(popularity))
    group = place * groups // max(len(popularity), 1)
    counts = np.bincount(group[items[items >= 0]], minlength=groups)
    return counts / max(int(counts.sum()), 1)


def mean_popularity(items: NDArray[Any], popularity: NDArray[Any]) -> float:
    """The mean number of training interactions of the items; 0 where there are none."""
    shown = items[items >= 0]
    return float(popularity[shown].mean()) if shown.size else 0.0
