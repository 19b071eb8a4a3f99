"""Residual k-means: each level clusters what the levels before it have left over."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.data_prep.quantizers import Quantized, Quantizer
from recllm.data_prep.quantizers._vectors import check_vectors, level_seed, sample_rows


class ResidualKMeans(Quantizer):
    """k-means on the vectors, then on the residuals, level by level (as in QARM and OneRec).

    Where a level has no more distinct residuals than codes, each residual becomes a code; the
    codebook's remaining rows are zero and no item is given them.
    """

    iterations: int = Field(default=20, ge=1, description="of k-means, a level")
    sample: int | None = Field(
        default=65536, ge=2, description="items that the codebooks are fitted on; null: all"
    )

    def quantize(
        self, vectors: NDArray[np.float32], levels: int, codes: int, seed: int
    ) -> Quantized:
        """Give each row of `vectors` (items, dimensions) the nearest code, level by level.

        Raises:
            UserError: the vectors are not finite, or all the same.
        """
        check_vectors(vectors)
        residuals = np.array(vectors, dtype=np.float32, order="C")
        rows = sample_rows(len(residuals), self.sample, seed)
        chosen = np.empty((len(residuals), levels), dtype=np.int32)
        codebooks = np.zeros((levels, codes, residuals.shape[1]), dtype=np.float32)
        for level in range(levels):
            centroids = self._fit(residuals[rows], codes, level_seed(seed, level) >> 1)
            codebooks[level, : len(centroids)] = centroids
            chosen[:, level] = _nearest(residuals, centroids)
            residuals -= centroids[chosen[:, level]]
        return Quantized(chosen, codebooks)

    def _fit(self, points: NDArray[np.float32], codes: int, seed: int) -> NDArray[np.float32]:
        """At most `codes` centroids of the points."""
        import faiss

        distinct = np.unique(points, axis=0)
        if len(distinct) <= codes:
            return distinct
        kmeans = faiss.Kmeans(
            points.shape[1],
            codes,
            niter=self.iterations,
            seed=seed,  # of 31 bits
            min_points_per_centroid=1,  # faiss warns below 39, and samples above 256
            max_points_per_centroid=len(points),
        )
        kmeans.train(points)
        return np.array(kmeans.centroids, dtype=np.float32)


def _nearest(points: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int32]:
    """The index of the nearest centroid of each point."""
    import faiss

    index = faiss.IndexFlatL2(centroids.shape[1])
    index.add(np.ascontiguousarray(centroids))  # type: ignore[call-arg]
    return index.search(points, 1)[1][:, 0].astype(np.int32)  # type: ignore[call-arg]
