"""Bootstrap of the area under the ROC curve over users, for several scores of the same rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.metrics.bootstrap import draw_counts

#: Weights held at a time (8 bytes each, and several times as much for their sums).
_CELLS = 1 << 20


def bootstrap_auc(
    columns: NDArray[Any], labels: NDArray[Any], users: NDArray[Any], resamples: int, seed: int
) -> NDArray[np.float64]:
    """The AUC of each score in each bootstrap sample of users, drawn with all of their rows.

    All columns are measured on the same samples, so that differences of two columns are paired.

    Args:
        columns: (rows, columns) scores, finite, higher for a likelier positive.
        labels: (rows,) true for positives.
        users: (rows,) the user of each row, of any type that numpy can sort.
        resamples: how many samples to draw; those without both classes have no AUC and are
            left out.
        seed: equal seeds give equal samples.

    Returns:
        (at most resamples, columns).

    Raises:
        ValueError: no sample has both classes.
    """
    distinct, user_of_row = np.unique(users, return_inverse=True)
    positive = np.asarray(labels, dtype=bool)
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // max(len(distinct), len(positive), 1))
    found = []
    for start in range(0, resamples, step):
        counts = draw_counts(generator, min(step, resamples - start), len(distinct))
        weights = counts[:, user_of_row]
        positives = (weights * positive).sum(axis=1)
        negatives = weights.sum(axis=1) - positives
        whole = (positives > 0) & (negatives > 0)
        pairs = (positives * negatives)[whole]
        areas = [weighted_wins(column, positive, weights[whole]) / pairs for column in columns.T]
        found.append(np.stack(areas, axis=1))
    areas = np.concatenate(found)
    if not len(areas):
        raise ValueError("no bootstrap sample has rows of both classes")
    return areas


def weighted_wins(
    scores: NDArray[Any], positive: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(samples,) how many pairs of a positive and a negative are in order, ties counting half.

    Args:
        scores: (rows,).
        positive: (rows,).
        weights: (samples, rows) how often each row stands in each sample.
    """
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    of_label = [weights[:, order] * label[order] for label in (positive, ~positive)]
    won, lost = (np.add.reduceat(part, starts, axis=1) for part in of_label)
    below = np.cumsum(lost, axis=1) - lost
    return (won * (below + lost / 2)).sum(axis=1)
