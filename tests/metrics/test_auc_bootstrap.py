"""The bootstrap of the AUC is that of drawing users one by one and ranking what they bring."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.metrics.auc_bootstrap import bootstrap_auc, weighted_wins
from recllm.metrics.bootstrap import draw_counts
from recllm.metrics.classification import auc


@given(data=st.data(), rows=st.integers(2, 30))
def test_weights_are_repeated_rows(data: st.DataObject, rows: int) -> None:
    few = st.integers(0, 4)
    scores = np.array(data.draw(st.lists(few, min_size=rows, max_size=rows)), dtype=float)
    labels = np.array([True, False, *data.draw(st.lists(st.booleans(), min_size=rows - 2,
                                                       max_size=rows - 2))])  # fmt: skip
    weights = np.array(data.draw(st.lists(few, min_size=rows, max_size=rows)), dtype=float)
    repeated = np.repeat(np.arange(rows), weights.astype(int))
    drawn = labels[repeated]
    if drawn.all() or not drawn.any():
        return
    (wins,) = weighted_wins(scores, labels, weights[None, :])
    expected = auc(scores[repeated], drawn)
    assert wins / (drawn.sum() * (~drawn).sum()) == pytest.approx(expected)


def test_samples_are_of_whole_users_and_the_same_for_all_columns() -> None:
    rng = np.random.default_rng(0)
    users, labels = np.repeat(np.arange(25), 4), rng.random(100) < 0.4
    columns = np.stack([rng.normal(labels, 1.0), np.round(rng.normal(size=100)), ~labels], axis=1)
    found = bootstrap_auc(columns, labels, users, resamples=40, seed=3)
    generator = np.random.default_rng(3)
    for sample, counts in zip(found, draw_counts(generator, 40, 25), strict=True):
        rows = np.repeat(np.arange(100), counts[users].astype(int))
        expected = [auc(column[rows], labels[rows]) for column in columns.T]
        assert sample == pytest.approx(expected)
    assert (found[:, 2] == 0).all()


def test_rows_of_one_user_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat(rng.random(40) < 0.5, 10)
    scores = np.repeat(rng.normal(size=40), 10)[:, None] + labels[:, None]
    alone = bootstrap_auc(scores, labels, np.arange(400), 400, 0)
    clustered = bootstrap_auc(scores, labels, np.repeat(np.arange(40), 10), 400, 0)
    assert clustered.std() > 2 * alone.std()


def test_samples_of_one_class_are_left_out() -> None:
    labels, scores = np.array([True, False]), np.array([[1.0], [0.0]])
    found = bootstrap_auc(scores, labels, np.arange(2), 200, 0)
    assert 50 < len(found) < 150 and (found == 1).all()
    with pytest.raises(ValueError, match="both classes"):
        bootstrap_auc(scores, np.array([True, True]), np.arange(2), 50, 0)
