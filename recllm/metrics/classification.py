"""Metrics of scores against yes/no labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def auc(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties counting half.

    By ranks (Mann and Whitney, 1947), so it takes the time of one sort.

    Args:
        scores: (rows,) finite numbers, higher for a likelier positive.
        labels: (rows,) true for positives.

    Raises:
        ValueError: a score is not finite, or one of the two classes is absent.
    """
    positive = np.asarray(labels, dtype=bool)
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        raise ValueError(f"auc wants both classes, found {positives} positives of {len(positive)}")
    if not np.isfinite(scores).all():
        raise ValueError("auc wants finite scores")
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(sizes) - (sizes - 1) / 2  # 1-based; tied scores share their mean rank
    rank_sum = float(middle_rank[group][positive].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
