"""k-means in torch, and codes by codebooks: the same on the CPU and on a GPU.

The time goes into one product of matrices an iteration, points times centroids; all else is
arranged not to add to it. Where a cluster has no points, its centroid moves to the point that is
farthest from its own.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Entries of one block of distances, small enough to stay in a processor's cache.
BLOCK_ENTRIES = 2**20


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


def lloyd(
    points: Tensor,
    centroids: Tensor,
    iterations: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Tensor:
    """The centroids after so many iterations, or once nothing changes any more."""
    before = None
    for iteration in range(iterations):
        chosen, _ = nearest(points, centroids)
        if before is not None and torch.equal(chosen, before):
            advance(iterations - iteration)
            break
        centroids = means(points, chosen, centroids)
        before = chosen
        advance(1)
    return centroids


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
