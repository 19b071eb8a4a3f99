"""Residual k-means: each level clusters what the levels before it have left over."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recllm.data_prep.quantizers import Quantized, Quantizer
from recllm.data_prep.quantizers._vectors import check_vectors, sample_rows


class ResidualKMeans(Quantizer):
    """k-means on the vectors, then on the residuals, level by level (as in QARM and OneRec).

    Runs on the GPU where there is one. Three quarters of the iterations see a quarter of the
    sample, from which centroids come nearly as far in less time. Where a level has no more
    distinct residuals than codes, each residual becomes a code; the codebook's remaining rows are
    zero and no item is given them.
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
        from recllm.data_prep.quantizers import _kmeans  # torch: a recipe is checked without
        from recllm.models.backbone import resolve_device

        check_vectors(vectors)
        rows = sample_rows(len(vectors), self.sample, seed)
        points = _kmeans.to_tensor(vectors[rows], resolve_device())
        codebooks = _kmeans.fit_residual(points, levels, codes, self.iterations, seed)
        return Quantized(_kmeans.encode(vectors, codebooks), _kmeans.stacked(codebooks, codes))
