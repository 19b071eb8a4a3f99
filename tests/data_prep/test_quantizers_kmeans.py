"""k-means and residual encoding against loops over points and centroids."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.data_prep.quantizers import _kmeans as kmeans
from recllm.data_prep.quantizers._residual_kmeans import fit_centroids, principal_axes
from recllm.data_prep.quantizers._residuals import Residuals

CPU = torch.device("cpu")


def random_points(seed: int, points: int, dimensions: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(points, dimensions))).float()


def whole_points(seed: int, points: int) -> torch.Tensor:
    """Small whole numbers, exact in float32."""
    return torch.from_numpy(np.random.default_rng(seed).integers(-5, 6, (points, 2))).float()


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 200), st.integers(1, 9), st.sampled_from([1, 2**20]))
def test_nearest_is_what_loops_find(seed, count, codes, block):
    points, centroids = random_points(seed, count), random_points(seed + 1, codes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kmeans, "BLOCK_ENTRIES", block)
        chosen, scores = kmeans.nearest(points, centroids)
    for point, code, score in zip(points, chosen.tolist(), scores.tolist(), strict=True):
        squared = [float(((point - centroid) ** 2).sum()) for centroid in centroids]
        assert code == int(np.argmin(squared))
        assert 2 * score + float((point**2).sum()) == pytest.approx(min(squared), abs=1e-4)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 12))
def test_means_are_what_loops_find(seed, count, codes):
    points, centroids = whole_points(seed, count), whole_points(seed + 1, codes)
    chosen = torch.from_numpy(np.random.default_rng(seed).integers(0, codes, count))
    moved = kmeans.means(points, chosen, centroids)
    squared = ((points - centroids[chosen]) ** 2).sum(dim=1)
    empty = [code for code in range(codes) if not (chosen == code).any()]
    for code in range(codes):
        if code not in empty:
            assert torch.allclose(moved[code], points[chosen == code].mean(dim=0), atol=1e-5)
    lost = moved[empty[:count]]
    farthest = squared.sort(descending=True).values[: len(lost)]
    for centroid, distance in zip(lost, farthest, strict=True):
        same = (points == centroid).all(dim=1)
        assert same.any() and distance in squared[same]


def test_sums_on_a_gpu_are_those_of_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    points = random_points(0, 5000)
    chosen = torch.from_numpy(np.random.default_rng(0).integers(0, 9, 5000))
    found = kmeans.sums(points.cuda(), chosen.cuda(), 9).cpu()
    assert torch.allclose(found, kmeans.sums(points, chosen, 9), atol=1e-3)


def test_lloyds_iterations_lower_the_error_and_stop_where_nothing_changes():
    points = random_points(0, 500)
    finished = []
    errors = []
    for iterations in (1, 3, 1000):
        steps: list[int] = []
        centroids = fit_centroids(points, 16, iterations, 0, steps.append)
        errors.append(float(torch.cdist(points, centroids).min(dim=1).values.square().sum()))
        finished.append((len(steps), sum(steps)))
    assert errors[0] > errors[1] > errors[2]
    assert finished[0] == (1, 1) and finished[2][0] < 200 and finished[2][1] == 1000


def test_many_equal_points_do_not_hide_the_others():
    points = torch.cat([torch.zeros(1000, 2), random_points(0, 20, 2)])
    centroids = fit_centroids(points, 16, 20, 0)
    assert centroids.shape == (16, 2)
    assert fit_centroids(points, 32, 20, 0).shape == (21, 2)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from([1, 2**20]))
def test_residuals_are_vectors_less_their_centroids(seed, block):
    vectors = whole_points(seed, 90).numpy()
    codebooks = [whole_points(seed + level, 4) for level in range(1, 4)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kmeans, "BLOCK_ENTRIES", block)
        codes = kmeans.encode(vectors, codebooks)
    left, lazy = vectors.copy(), Residuals(vectors, CPU)
    for level, centroids in enumerate(codebooks):
        squared = ((left[:, None] - centroids.numpy()) ** 2).sum(axis=2)
        chosen = codes[:, level]
        assert (squared[np.arange(90), chosen] == squared.min(axis=1)).all()
        left -= centroids.numpy()[chosen]
        lazy.add_level(centroids, torch.from_numpy(chosen).long())
        rows = torch.tensor([3, 1, 80])
        assert np.array_equal(lazy[10:20], left[10:20])
        assert np.array_equal(lazy.gathered(rows), left[rows.numpy()])


def clusters(seed: int, dimensions: int, spread: float) -> torch.Tensor:
    """Points around 16 centres."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(16, dimensions))[rng.integers(0, 16, 600)]
    return torch.from_numpy(centres + spread * rng.normal(size=(600, dimensions))).float()


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(3, 60), st.integers(1, 3))
def test_principal_axes_keep_the_most_variance(seed, count, axes):
    points = random_points(seed, count, 5)
    found = principal_axes(points, axes)
    assert torch.allclose(found.T @ found, torch.eye(axes), atol=1e-4)
    centred = points - points.mean(dim=0)
    most = torch.linalg.svdvals(centred)[:axes].square().sum()
    assert torch.allclose((centred @ found).square().sum(), most, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dimensions", [40, 200])
def test_k_means_in_many_dimensions_does_not_depend_on_how_they_lie(dimensions):
    points = clusters(0, dimensions, spread=0.1)
    rng = np.random.default_rng(1)
    turn = torch.from_numpy(np.linalg.qr(rng.normal(size=(dimensions, dimensions)))[0]).float()
    codes = kmeans.nearest(points, fit_centroids(points, 16, 20, 0))[0]
    turned = kmeans.nearest(points @ turn, fit_centroids(points @ turn, 16, 20, 0))[0]
    assert torch.equal(codes, turned)


def test_starting_along_principal_axes_uses_codes_more_evenly():
    def perplexity(points: torch.Tensor, centroids: torch.Tensor) -> float:
        shares = torch.bincount(kmeans.nearest(points, centroids)[0]) / len(points)
        return float(torch.exp(-(shares * shares.clamp(min=1e-9).log()).sum()))

    rng = np.random.default_rng(0)
    topics = rng.normal(size=(64, 64)) * np.arange(1, 65) ** -0.5
    popularity = np.arange(1, 65) ** -0.8
    pairs = []
    for seed in range(5):
        topic = rng.choice(64, 3000, p=popularity / popularity.sum())
        spread = rng.normal(size=(3000, 64)) * np.arange(1, 65) ** -0.5
        points = torch.from_numpy(topics[topic] + 0.5 * spread).float()
        drawn = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
        plain = kmeans.lloyd(points, points[drawn[:48]], 20)
        along = fit_centroids(points, 48, 20, seed)
        pairs.append((perplexity(points, along), perplexity(points, plain)))
    ours, theirs = np.array(pairs).mean(axis=0)
    assert ours > 1.05 * theirs


def test_few_distinct_points_are_their_own_centroids_in_many_dimensions_too():
    points = random_points(0, 5, 64).repeat(30, 1)
    assert fit_centroids(points, 16, 20, 0).shape == (5, 64)
    steps: list[int] = []
    fit_centroids(random_points(0, 100, 64), 16, 20, 0, steps.append)
    assert sum(steps) == 3 * 20  # along 8 axes, along 32, along all 64
