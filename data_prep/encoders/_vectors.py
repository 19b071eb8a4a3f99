"""What the encoders share: SVD and PCA with fixed signs, row normalisation, text in arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Relative to the largest: what float32 cannot tell from zero.
NEGLIGIBLE = 1e-5
# The same for variances, that are differences of sums of squares.
NEGLIGIBLE_VARIANCE = 1e-6


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
    singular, directions = singular_directions(matrix, dimensions, seed)
    # Projected, not read from U: only so are the rows that are zero exactly zero.
    projected = project(matrix, directions, dimensions)
    projected[:, : len(singular)] *= singular ** (exponent - 1)
    return unit_rows(projected)


def singular_directions(
    matrix: Any, dimensions: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The leading singular values and right singular vectors of a sparse matrix.

    Returns:
        (k,) and (k, features), where k is `dimensions`, or the matrix's rank where that is less.
    """
    from sklearn.utils.extmath import randomized_svd

    width = min(dimensions, *matrix.shape)
    if width == 0 or matrix.nnz == 0:
        return np.zeros(0, np.float32), np.zeros((0, matrix.shape[1]), np.float32)
    singular: Any
    directions: Any
    with _one_thread():
        _, singular, directions = randomized_svd(matrix, width, random_state=seed)
    kept = singular > NEGLIGIBLE * singular[0]
    return singular[kept], directions[kept]


def principal_axes(
    vectors: NDArray[np.float32], dimensions: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean and the leading principal axes of the rows of a matrix.

    The signs are fixed: the entry of largest magnitude of each axis is positive.

    Returns:
        (width,) and (k, width), where k is `dimensions`, or the rank of the centred rows where
        that is less.
    """
    from sklearn.decomposition import PCA

    wanted = min(dimensions, *vectors.shape)
    if len(vectors) < 2 or (vectors == vectors[0]).all():
        mean = vectors[0] if len(vectors) else np.zeros(vectors.shape[1], np.float32)
        return mean, np.zeros((0, vectors.shape[1]), np.float32)
    with _one_thread():
        fitted: Any = PCA(wanted, svd_solver="covariance_eigh").fit(vectors)
    kept = fitted.explained_variance_ > NEGLIGIBLE_VARIANCE * fitted.explained_variance_[0]
    return fitted.mean_.astype(np.float32), fitted.components_[kept].astype(np.float32)


def project(matrix: Any, directions: NDArray[np.float32], dimensions: int) -> NDArray[np.float32]:
    """The rows of a matrix along some directions, and zeros up to the width asked for.

    Args:
        matrix: (rows, features), sparse or not.
        directions: (k, features), k at most `dimensions`.

    Returns:
        (rows, dimensions) float32.
    """
    result = np.zeros((matrix.shape[0], dimensions), dtype=np.float32)
    if len(directions):
        with _one_thread():
            result[:, : len(directions)] = matrix @ directions.T
    return result


def unit_rows(vectors: NDArray[np.float32], floor: np.float32 | None = None) -> NDArray[np.float32]:
    """Each row divided by its length; rows that are zero but for rounding become zero.

    Args:
        floor: the length up to which they are; default: that of `length_floor`.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    significant = lengths > (_floor(lengths) if floor is None else floor)
    scaled = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=significant)
    return scaled.astype(np.float32, copy=False)


def length_floor(vectors: NDArray[np.float32]) -> np.float32:
    """The length up to which rows among these are zero but for rounding."""
    return _floor(np.linalg.norm(vectors, axis=1))


def _floor(lengths: NDArray[np.float32]) -> np.float32:
    return np.float32(NEGLIGIBLE * lengths.max(initial=0))


def text_to_array(text: str) -> NDArray[np.uint8]:
    """A text as its UTF-8 bytes, to be stored among arrays."""
    return np.frombuffer(text.encode(), dtype=np.uint8)


def array_to_text(array: NDArray[np.uint8]) -> str:
    """The text that `text_to_array` made bytes of."""
    return array.tobytes().decode()


def _one_thread() -> Any:
    """Else the number of cores decides how sums are rounded."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")
