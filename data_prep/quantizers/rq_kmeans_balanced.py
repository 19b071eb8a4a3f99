"""Balanced residual k-means: no code of a level is given to many more items than another."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.data_prep.quantizers import Quantized
from recllm.data_prep.quantizers._sampled import SampledKMeans
from recllm.data_prep.quantizers._vectors import level_seed, sample_rows
from recllm.progress import progress

if TYPE_CHECKING:
    from torch import Tensor


class BalancedResidualKMeans(SampledKMeans):
    """Residual k-means in which a code takes at most `slack` times its share of the items.

    A cluster of a level is the items that have the same code there, as in OneRec (Deng et al.,
    2025), whatever their codes before it: its size is at most slack × items / K, or items / K
    rounded up where that is more. Centroids are fitted as in `rq-kmeans`, then by rounds of
    assignment within the capacity and of means; then all items are assigned within the capacity
    (see `_capacity`). A level with fewer distinct residuals than codes is not limited: each
    residual becomes a code, as in `rq-kmeans`. Collision resolution may add items to a code, and
    items that come later do: they take the nearest codes.
    """

    balanced_iterations: int = Field(default=5, ge=0, description="within the capacity, a level")
    slack: float = Field(default=1.1, ge=1, description="size of the largest cluster, in means")

    def fit(self, vectors: NDArray[np.float32], levels: int, codes: int, seed: int) -> Quantized:
        """A near code, level by level."""
        import torch

        from recllm.data_prep.quantizers import _capacity, _kmeans
        from recllm.data_prep.quantizers._residuals import Residuals
        from recllm.models.devices import resolve_device

        left = Residuals(vectors, resolve_device())
        rows = torch.from_numpy(sample_rows(len(vectors), self.sample, seed)).to(left.device)
        with progress("balanced k-means, levels", levels) as advance:
            for level in range(levels):
                centroids = self._fit(left.gathered(rows), codes, level_seed(seed, level))
                if len(centroids) < codes:
                    chosen, _ = _kmeans.nearest(left, centroids)
                else:
                    capacity = _capacity.capacity_of(len(left), codes, self.slack)
                    chosen = _capacity.assign_within(left, centroids, capacity)
                left.add_level(centroids, chosen)
                advance(1)
        chosen = torch.stack(left.codes, dim=1).to(torch.int32).cpu().numpy()
        return Quantized(chosen, _kmeans.stacked(left.codebooks, codes))

    def _fit(self, points: "Tensor", codes: int, seed: int) -> "Tensor":
        """The centroids of one level; fewer than `codes` where no more points are distinct."""
        from recllm.data_prep.quantizers import _capacity, _kmeans
        from recllm.data_prep.quantizers._residual_kmeans import fit_centroids

        centroids = fit_centroids(points, codes, self.iterations, seed)
        if len(centroids) == codes:
            capacity = _capacity.capacity_of(len(points), codes, self.slack)
            for _ in range(self.balanced_iterations):
                chosen = _capacity.assign_within(points, centroids, capacity)
                centroids = _kmeans.means(points, chosen, centroids)
        return centroids
