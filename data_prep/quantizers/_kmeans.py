"""k-means and residual k-means in torch: the same on the CPU and on a GPU.

The time goes into one product of matrices an iteration, points times centroids; all else is
arranged not to add to it. The first centroids are points drawn at random, more where there are
more of them: spread ones (k-means++) have a slightly lower error, but fewer codes where items
are many, and so more collisions. Where a cluster has no points, its centroid moves to the point
that is farthest from its own.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recllm.data_prep.quantizers._vectors import level_seed
from recllm.progress import progress

#: Entries of one block of distances, small enough to stay in a processor's cache.
BLOCK_ENTRIES = 2**20


#: The first three quarters of the iterations see only one point in so many, but so many a code.
FEWER, POINTS_PER_CODE = 4, 64


class Rows(Protocol):
    """Points, read some rows at a time: a tensor (points, dimensions), or what acts like one."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | Tensor, /) -> Tensor: ...


def blocks(count: int, width: int) -> list[slice]:
    """Slices that cut `count` rows so that a block of `width` columns is of bounded size."""
    rows = max(BLOCK_ENTRIES // max(width, 1), 64)
    return [slice(start, min(start + rows, count)) for start in range(0, count, rows)]


def half_distances(points: Tensor, centroids: Tensor) -> Tensor:
    """(points, centroids): half the squared distances, less half the points' own square."""
    half_norms = centroids.square().sum(dim=1) / 2
    return torch.addmm(half_norms, points, centroids.T, alpha=-1)


def nearest(points: Rows, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Each point's nearest centroid, and its entry of `half_distances`: (points,) both."""
    found = [half_distances(points[rows], centroids).min(dim=1) for rows in
             blocks(len(points), len(centroids))]  # fmt: skip
    return torch.cat([f.indices for f in found]), torch.cat([f.values for f in found])


def sums(points: Tensor, chosen: Tensor, codes: int) -> Tensor:
    """(codes, dimensions): the sum of the points of each code."""
    total = points.new_zeros(codes, points.shape[1])
    if not points.is_cuda:
        return total.index_add_(0, chosen, points)
    for rows in blocks(len(points), codes):  # index_add_ adds in any order on a GPU
        members = torch.nn.functional.one_hot(chosen[rows], codes).to(points.dtype)
        total.addmm_(members.T, points[rows])
    return total


def means(points: Tensor, chosen: Tensor, centroids: Tensor) -> Tensor:
    """The centroids moved to the mean of their points; those without go to the farthest points."""
    counts = torch.bincount(chosen, minlength=len(centroids))
    moved = sums(points, chosen, len(centroids)) / counts.clamp(min=1)[:, None]
    empty = torch.nonzero(counts == 0).flatten()
    if len(empty):
        far = (points - centroids[chosen]).square_().sum(dim=1).topk(min(len(empty), len(points)))
        moved[empty[: len(far.indices)]] = points[far.indices]
    return moved


def fit_centroids(
    points: Tensor,
    codes: int,
    iterations: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """At most `codes` centroids of the points: all of them, where no more are distinct."""
    distinct = _few_distinct(points, codes)
    if distinct is not None:
        advance(iterations)
        return distinct
    drawn = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
    drawn = drawn.to(points.device)
    centroids = points[drawn[:codes]]
    few = points[drawn[: max(len(points) // FEWER, POINTS_PER_CODE * codes)]]
    before = None
    for iteration in range(iterations):
        early = iteration < 3 * iterations // 4 and len(few) < len(points)
        chosen, _ = nearest(few if early else points, centroids)
        if before is not None and torch.equal(chosen, before):
            advance(iterations - iteration)
            break
        centroids = means(few if early else points, chosen, centroids)
        before = None if early else chosen
        advance(1)
    return centroids


def fit_residual(
    points: Tensor, levels: int, codes: int, iterations: int, seed: int
) -> list[Tensor]:
    """The centroids of each level, fitted on what the levels before have left of the points.

    `points` is overwritten with what all levels leave.
    """
    codebooks = []
    with progress("residual k-means, iterations", levels * iterations) as advance:
        for level in range(levels):
            centroids = fit_centroids(points, codes, iterations, level_seed(seed, level), advance)
            codebooks.append(centroids)
            if level < levels - 1:
                take_away(points, centroids)
    return codebooks


def take_away(points: Tensor, centroids: Tensor) -> Tensor:
    """Subtract from each point, in place, the centroid nearest to it; which one that was."""
    chosen, _ = nearest(points, centroids)
    for rows in blocks(len(points), points.shape[1]):
        points[rows] -= centroids[chosen[rows]]
    return chosen


def encode(vectors: NDArray[np.float32], codebooks: Sequence[Tensor]) -> NDArray[np.int32]:
    """(items, levels): level by level, the centroid nearest to what is left of each vector."""
    widest = max(vectors.shape[1], *(len(centroids) for centroids in codebooks))
    codes = np.empty((len(vectors), len(codebooks)), dtype=np.int32)
    for rows in blocks(len(vectors), widest):
        left = to_tensor(vectors[rows], codebooks[0].device)
        for level, centroids in enumerate(codebooks):
            codes[rows, level] = take_away(left, centroids).cpu().numpy()
    return codes


def to_tensor(vectors: NDArray[np.float32], device: torch.device) -> Tensor:
    """A copy of the vectors on a device."""
    return torch.from_numpy(np.array(vectors, dtype=np.float32, order="C")).to(device)


def stacked(codebooks: Sequence[Tensor], codes: int) -> NDArray[np.float32]:
    """(levels, codes, dimensions): the centroids of each level, and zeros where it has fewer."""
    result = np.zeros((len(codebooks), codes, codebooks[0].shape[1]), dtype=np.float32)
    for level, centroids in enumerate(codebooks):
        result[level, : len(centroids)] = centroids.detach().cpu().numpy()
    return result


def unstacked(codebooks: NDArray[np.float32], device: torch.device) -> list[Tensor]:
    """The centroids of each level on a device, without the zeros that `stacked` adds.

    One is left of a level that has nothing but zeros.
    """
    found = []
    for level in codebooks:
        used = np.flatnonzero(level.any(axis=1))
        found.append(to_tensor(level[: used[-1] + 1 if len(used) else 1], device))
    return found


def _few_distinct(points: Tensor, codes: int) -> Tensor | None:
    """The distinct points, where there are at most `codes`."""
    if len(torch.unique(points[: 2 * codes + 1], dim=0)) > codes:
        return None
    distinct = torch.unique(points, dim=0)
    return distinct if len(distinct) <= codes else None
