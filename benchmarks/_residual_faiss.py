"""Residual quantization by faiss, with the sample and the iterations of `rq-kmeans`."""

import faiss
import numpy as np
from numpy.typing import NDArray

from recllm.data_prep.quantizers import Quantized

BITS = 8
CODES = 2**BITS


def quantize_by_faiss(
    vectors: NDArray[np.float32],
    sample: NDArray[np.int64],
    levels: int,
    iterations: int,
    progressive: bool = False,
) -> Quantized:
    """Train on the sampled rows and encode all, with a beam of 1 and `CODES` codes a level.

    Args:
        progressive: k-means in more and more dimensions, as faiss does unless told otherwise.
    """
    kind = faiss.ResidualQuantizer
    quantizer = kind(vectors.shape[1], levels, BITS)
    quantizer.max_beam_size = 1
    quantizer.train_type = kind.Train_progressive_dim if progressive else kind.Train_default
    quantizer.use_beam_LUT = 1  # encodes faster: a product of matrices, and then look-ups
    quantizer.cp.niter = iterations
    quantizer.cp.min_points_per_centroid = 1
    quantizer.cp.max_points_per_centroid = len(sample)  # else it samples once more
    quantizer.train(vectors[sample])  # type: ignore[call-arg]
    codes = quantizer.compute_codes(vectors)  # type: ignore[call-arg]
    codebooks = faiss.vector_to_array(quantizer.codebooks)
    return Quantized(codes.astype(np.int32), codebooks.reshape(levels, CODES, vectors.shape[1]))
