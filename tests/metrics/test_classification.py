"""auc against a loop over all pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.metrics import auc

ROWS = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=25)


@given(ROWS.filter(lambda rows: 0 < sum(label for _, label in rows) < len(rows)))
def test_auc_counts_pairs(rows: list[tuple[int, bool]]) -> None:
    positives = [score for score, label in rows if label]
    negatives = [score for score, label in rows if not label]
    won = sum((p > n) + (p == n) / 2 for p in positives for n in negatives)
    scores, labels = (np.array(column) for column in zip(*rows, strict=True))
    assert auc(scores, labels) == pytest.approx(won / (len(positives) * len(negatives)))


def test_auc_wants_both_classes_and_finite_scores() -> None:
    with pytest.raises(ValueError, match="both classes"):
        auc(np.array([1.0, 2.0]), np.array([True, True]))
    with pytest.raises(ValueError, match="finite"):
        auc(np.array([np.nan, 2.0]), np.array([True, False]))
