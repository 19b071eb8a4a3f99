"""What the encoders share: a truncated SVD with fixed signs, and row normalisation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Relative to the largest: what float32 cannot tell from zero.
NEGLIGIBLE = 1e-5


def truncated_svd(
    matrix: Any, dimensions: int, seed: int, exponent: float = 1.0
) -> NDArray[np.float32]:
    """The rows of a sparse matrix in the space of its leading singular vectors: U · S^exponent.

    Columns beyond the matrix's rank are zero, rows that are zero stay zero, and the signs are
    fixed: in each column of U the entry of largest magnitude is positive.

    Args:
        matrix: (rows, features) scipy sparse, float32.
        dimensions: width of the result.
        exponent: 1 keeps the rows' inner products; 0.5 is usual for PPMI (Levy et al., 2015).

    Returns:
        (rows, dimensions) float32, each row of length 1 or 0.
    """
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits

    result = np.zeros((matrix.shape[0], dimensions), dtype=np.float32)
    width = min(dimensions, *matrix.shape)
    if width == 0 or matrix.nnz == 0:
        return result
    with threadpool_limits(limits=1, user_api="blas"):  # else the cores decide how sums round
        _, singular, directions = randomized_svd(matrix, width, random_state=seed)
    kept = singular > NEGLIGIBLE * singular[0]
    # Projected, not read from U: only so are the rows that are zero exactly zero.
    projected = matrix @ directions[kept].T
    result[:, : kept.sum()] = projected * singular[kept] ** (exponent - 1)
    return unit_rows(result)


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row divided by its length; rows that are zero but for rounding become zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    significant = lengths > NEGLIGIBLE * lengths.max(initial=0)
    scaled = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=significant)
    return scaled.astype(np.float32)
