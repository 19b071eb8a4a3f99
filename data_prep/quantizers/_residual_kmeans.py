"""Residual k-means: centroids that start in few dimensions, level by level.

The first centroids are points drawn at random. They are fitted along the first principal axes
alone, then along four times as many, and so on; what comes out is where k-means starts in all
dimensions (compare the progressive dimensions of faiss, and Ding and He, 2004, "K-means clustering
via principal component analysis"). So codes are used more evenly, and fewer items collide, at
about the same error: benchmarks/RESULTS.md has figures.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from recllm.data_prep.quantizers._kmeans import lloyd, means, nearest, take_away
from recllm.data_prep.quantizers._vectors import level_seed
from recllm.progress import progress

#: The shares of the dimensions that k-means goes along before it goes along all, if they are
#: enough axes. Found by trial on Beauty's vectors and on simulated ones.
SHARES, FEWEST_AXES = (32, 8, 2), 8
#: The points that the axes are taken from.
AXES_POINTS = 8192
#: The first three quarters of the iterations see only one point in so many, but so many a code.
FEWER, POINTS_PER_CODE = 4, 64


def fit_residual(
    points: Tensor, levels: int, codes: int, iterations: int, seed: int
) -> list[Tensor]:
    """The centroids of each level, fitted on what the levels before have left of the points.

    `points` is overwritten with what all levels leave.
    """
    codebooks = []
    rounds = levels * (1 + len(_widths(points.shape[1])))
    with progress("residual k-means, iterations", rounds * iterations) as advance:
        for level in range(levels):
            centroids = fit_centroids(points, codes, iterations, level_seed(seed, level), advance)
            codebooks.append(centroids)
            if level < levels - 1:
                take_away(points, centroids)
    return codebooks


def fit_centroids(
    points: Tensor,
    codes: int,
    iterations: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """At most `codes` centroids of the points: all of them, where no more are distinct.

    Args:
        advance: called with iterations done, `iterations` for each number of dimensions.
    """
    widths = _widths(points.shape[1])
    distinct = _few_distinct(points, codes)
    if distinct is not None:
        advance(iterations * (1 + len(widths)))
        return distinct
    drawn = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
    drawn = drawn.to(points.device)
    if not widths:
        return _early_and_late(points, points[drawn[:codes]], drawn, iterations, advance)
    along = points @ principal_axes(points[drawn[:AXES_POINTS]], widths[-1])
    chosen = None
    for width in widths:
        part = along[:, :width].contiguous()
        first = part[drawn[:codes]] if chosen is None else _start(part, chosen, codes)
        chosen, _ = nearest(part, _early_and_late(part, first, drawn, iterations, advance))
    assert chosen is not None
    # The points are near their centroids by now: the early iterations are not needed again.
    early = _early(iterations)
    advance(early)
    return lloyd(points, _start(points, chosen, codes), iterations - early, advance)


def principal_axes(points: Tensor, axes: int) -> Tensor:
    """(dimensions, axes): the directions in which the points differ most, the first one most."""
    centred = points - points.mean(dim=0)
    return torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :axes]


def _widths(dimensions: int) -> list[int]:
    """How many axes k-means goes along before it goes along all dimensions."""
    widths = [dimensions // share for share in SHARES]
    return [width for width in widths if width >= FEWEST_AXES]


def _start(points: Tensor, chosen: Tensor, codes: int) -> Tensor:
    return means(points, chosen, points.new_zeros(codes, points.shape[1]))


def _early(iterations: int) -> int:
    return 3 * iterations // 4


def _early_and_late(
    points: Tensor,
    centroids: Tensor,
    drawn: Tensor,
    iterations: int,
    advance: Callable[[int], None],
) -> Tensor:
    """Iterations that see the first of the drawn points, then some that see all points."""
    fewest = max(len(points) // FEWER, POINTS_PER_CODE * len(centroids))
    if fewest >= len(points):
        return lloyd(points, centroids, iterations, advance)
    early = _early(iterations)
    centroids = lloyd(points[drawn[:fewest]], centroids, early, advance)
    return lloyd(points, centroids, iterations - early, advance)


def _few_distinct(points: Tensor, codes: int) -> Tensor | None:
    """The distinct points, where there are at most `codes`."""
    if len(torch.unique(points[: 2 * codes + 1], dim=0)) > codes:
        return None
    distinct = torch.unique(points, dim=0)
    return distinct if len(distinct) <= codes else None
