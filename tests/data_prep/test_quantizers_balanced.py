"""Balanced residual k-means: the capacity holds, and what it costs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from recllm.catalog.sid_tree import reconstruction_errors
from recllm.data_prep.quantizers import _capacity as capacity
from recllm.data_prep.quantizers import _kmeans as kmeans
from recllm.data_prep.quantizers._residual_kmeans import fit_centroids
from recllm.data_prep.quantizers.rq_kmeans import ResidualKMeans
from recllm.data_prep.quantizers.rq_kmeans_balanced import BalancedResidualKMeans


def naive_enforce(costs, most):
    """Rounds of proposals, one point and one code at a time, with every code a candidate."""
    points, codes = costs.shape
    room, result, waiting = [most] * codes, [-1] * points, list(range(points))
    while waiting:
        wishes = {}
        for point in waiting:
            open_codes = [code for code in range(codes) if room[code] > 0]
            first, *rest = sorted(open_codes, key=lambda code: costs[point, code])
            regret = costs[point, rest[0]] - costs[point, first] if rest else np.float32(np.inf)
            wishes.setdefault(first, []).append((-regret, point))
        for code, wish in wishes.items():
            for _, point in sorted(wish)[: room[code]]:
                result[point] = code
                waiting.remove(point)
            room[code] -= min(room[code], len(wish))
    return result


@st.composite
def problems(draw):
    points, codes = draw(st.integers(1, 60)), draw(st.integers(2, 7))
    most = draw(st.integers(-(-points // codes), points))
    return points, codes, most, draw(st.integers(0, 10**6))


@settings(max_examples=100)
@given(problems(), st.sampled_from([2, 3, 7]))
def test_the_capacity_is_enforced_by_the_naive_rule(problem, few):
    points, codes, most, seed = problem
    costs = np.random.default_rng(seed).normal(size=(points, codes)).astype(np.float32)
    every = torch.from_numpy(costs)
    nearest = every.topk(min(few, codes), largest=False)
    found = capacity.enforce(nearest.values, nearest.indices, codes, most, lambda rows: every[rows])
    if few >= codes:
        assert found.tolist() == naive_enforce(costs, most)
    assert np.bincount(found).max() <= most


@settings(max_examples=100)
@given(problems(), st.sampled_from([2, 32]), st.booleans())
def test_no_code_takes_more_than_its_capacity(problem, candidates, equal):
    points, codes, most, seed = problem
    rng = np.random.default_rng(seed)
    values = np.ones((points, 2)) if equal else rng.normal(size=(points, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capacity, "CANDIDATES", candidates)
        found = capacity.assign_within(
            torch.from_numpy(values).float(),
            torch.from_numpy(rng.normal(size=(codes, 2))).float(),
            most,
        )
    assert found.shape == (points,)
    assert found.min() >= 0 and np.bincount(found, minlength=codes).max() <= most


def clustered(seed, points):
    """Vectors of which most lie in a few places."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(12, 4))
    shares = np.arange(1, 13) ** -1.5
    place = rng.choice(12, points, p=shares / shares.sum())
    return (centers[place] + 0.3 * rng.normal(size=(points, 4))).astype(np.float32)


def cost(points, centroids, chosen):
    return float(((points - centroids[chosen]) ** 2).sum())


def test_prices_bring_the_assignment_close_to_the_cheapest():
    over, without = [], []
    for seed in range(8):
        points = torch.from_numpy(clustered(seed, 400))
        centroids = fit_centroids(points, 16, 10, seed)
        squared = torch.cdist(points, centroids).square().numpy()
        rows, columns = linear_sum_assignment(np.repeat(squared, 28, axis=1))
        best = float(squared[rows, columns // 28].sum())
        found = capacity.assign_within(points, centroids, 28)
        over.append(cost(points, centroids, found) / best)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(capacity, "PRICE_ROUNDS", 0)
            plain = capacity.assign_within(points, centroids, 28)
        without.append(cost(points, centroids, plain) / best)
    assert max(over) < 1.1
    assert np.mean(over) < np.mean(without)


def test_a_capacity_that_does_not_bind_changes_nothing():
    points = torch.from_numpy(clustered(0, 300))
    centroids = fit_centroids(points, 8, 10, 0)
    found = capacity.assign_within(points, centroids, 300)
    assert torch.equal(found, kmeans.nearest(points, centroids)[0])


@pytest.mark.parametrize(("points", "codes", "slack", "most"), [
    (1000, 10, 1.1, 110), (1000, 10, 1.0, 100), (10, 8, 1.1, 2), (5, 8, 1.2, 1), (99, 10, 1.0, 10),
])  # fmt: skip
def test_capacity_is_slack_times_the_mean_but_room_for_all(points, codes, slack, most):
    assert capacity.capacity_of(points, codes, slack) == most


@pytest.mark.parametrize("slack", [1.0, 1.2])
def test_every_level_is_balanced_where_plain_k_means_is_not(slack):
    vectors = clustered(0, 2000)
    found = BalancedResidualKMeans(slack=slack, sample=500).quantize(vectors, 3, 16, seed=0)
    plain = ResidualKMeans(sample=500).quantize(vectors, 3, 16, seed=0)
    for level in range(3):
        assert np.bincount(found.codes[:, level]).max() <= slack * 2000 / 16
    assert np.bincount(plain.codes[:, 0]).max() > 1.5 * 2000 / 16
    errors = [
        reconstruction_errors(vectors, q.codes, q.codebooks).mean() / vectors.var(axis=0).sum()
        for q in (plain, found)
    ]
    assert errors[0] < errors[1] < 0.3


def test_a_level_of_few_distinct_residuals_is_exact_instead_of_balanced():
    distinct = np.array([[0, 1], [2, 0], [5, 5]], dtype=np.float32)
    vectors = distinct[[0, 0, 0, 0, 0, 0, 1, 2]]
    found = BalancedResidualKMeans().quantize(vectors, 2, 4, seed=0)
    assert not reconstruction_errors(vectors, found.codes, found.codebooks).any()
