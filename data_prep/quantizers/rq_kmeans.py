"""Residual k-means: each level clusters what the levels before it have left over."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.data_prep.quantizers import Quantized, Quantizer
from recllm.errors import UserError


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
        _check(vectors)
        residuals = np.array(vectors, dtype=np.float32, order="C")
        rows = self._sampled_rows(len(residuals), seed)
        chosen = np.empty((len(residuals), levels), dtype=np.int32)
        codebooks = np.zeros((levels, codes, residuals.shape[1]), dtype=np.float32)
        for level in range(levels):
            centroids = self._fit(residuals[rows], codes, _level_seed(seed, level))
            codebooks[level, : len(centroids)] = centroids
            chosen[:, level] = _nearest(residuals, centroids)
            residuals -= centroids[chosen[:, level]]
        return Quantized(chosen, codebooks)

    def _sampled_rows(self, items: int, seed: int) -> NDArray[np.int64]:
        if self.sample is None or items <= self.sample:
            return np.arange(items)
        return np.sort(np.random.default_rng(seed).choice(items, self.sample, replace=False))

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
            seed=seed,
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


def _level_seed(seed: int, level: int) -> int:
    """A seed for one level that fits the signed 32 bits that faiss takes."""
    return int(np.random.SeedSequence([seed, level]).generate_state(1)[0] >> 1)


def _check(vectors: NDArray[np.float32]) -> None:
    if not len(vectors):
        raise UserError("expected item vectors to quantize, found none; check the filter's counts")
    wrong = int((~np.isfinite(vectors)).any(axis=1).sum())
    if wrong:
        raise UserError(
            f"expected finite item vectors, found NaN or infinity in {wrong} of {len(vectors)}; "
            "choose another embed.encoder"
        )
    if len(vectors) > 1 and (vectors == vectors[0]).all():
        raise UserError(
            f"expected item vectors that differ, found {len(vectors)} identical ones; "
            "give the items text, or choose another embed.encoder"
        )
