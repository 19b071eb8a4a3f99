"""Semantic IDs: residual k-means against faiss, balanced codes, and a million items resolved.

`bar`: `rq-kmeans` on 200k simulated vectors of 1024 dimensions, training and encoding, 3 levels
of 256 codes. The peer is faiss' own ResidualQuantizer, with a beam of 1, plain k-means, the same
sampled rows and as many iterations (three quarters of ours see a quarter of the sample);
its distortion (mean squared error) stands in the next row. Then the same with the k-means that
faiss does unless told otherwise.

`rq-kmeans-balanced` has a goal as its peer: the largest cluster of any level is at most 1.2 times
the mean. So has collision resolution: a million items in 60 s; its memory's peer is the vectors'
own. The case with many collisions has half as many codes, and so two SIDs for each item.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._harness import Row, parse_small, report, timed
from benchmarks._item_vectors import clustered_vectors
from benchmarks._residual_faiss import CODES, quantize_by_faiss
from benchmarks._resolution import resolve
from recllm.catalog.sid_tree import reconstruction_errors
from recllm.data_prep.quantizers import Quantized
from recllm.data_prep.quantizers._vectors import sample_rows
from recllm.data_prep.quantizers.rq_kmeans import ResidualKMeans
from recllm.data_prep.quantizers.rq_kmeans_balanced import BalancedResidualKMeans

LEVELS = 3
REPEATS = 2
LARGEST_CLUSTER, RESOLUTION_SECONDS, GPU_SECONDS = 1.2, 60.0, 30.0


@dataclass(frozen=True)
class Sizes:
    """Items to quantize, items to resolve, dimensions of both."""

    items: int = 200_000
    many: int = 1_000_000
    dimensions: int = 1024


SMALL = Sizes(items=5_000, many=20_000, dimensions=32)


def distortion(vectors: NDArray[np.float32], quantized: Quantized) -> float:
    """The mean squared error, over items and dimensions."""
    errors = reconstruction_errors(vectors, quantized.codes, quantized.codebooks)
    return float(errors.mean() / vectors.shape[1])


def fastest(run: Callable[[], Quantized]) -> tuple[float, Quantized]:
    """The least of the seconds of several calls, and what the last one returns."""
    runs = [timed(run) for _ in range(REPEATS)]
    return min(seconds for seconds, _ in runs), runs[-1][1]


def against_faiss(vectors: NDArray[np.float32]) -> Iterator[Row]:
    """The bar, and balanced codes beside it."""
    plain, balanced = ResidualKMeans(), BalancedResidualKMeans()
    sample = sample_rows(len(vectors), plain.sample, seed=0)
    seconds, ours = fastest(lambda: plain.quantize(vectors, LEVELS, CODES, seed=0))
    error = distortion(vectors, ours)
    for name, progressive in (("bar", False), ("bar, peer in progressive dimensions", True)):
        peer_seconds, peer = fastest(
            lambda by_steps=progressive: quantize_by_faiss(
                vectors, sample, LEVELS, plain.iterations, by_steps
            )
        )
        yield Row(name, seconds, peer_seconds, "s")
        yield Row(f"{name}, distortion", error, distortion(vectors, peer), "MSE")
    seconds_balanced, even = timed(lambda: balanced.quantize(vectors, LEVELS, CODES, seed=0))
    mean = len(vectors) / CODES
    largest = max(np.bincount(codes).max() for codes in even.codes.T) / mean
    most = max(np.bincount(codes).max() for codes in ours.codes.T) / mean
    yield Row("balanced, largest cluster", largest, LARGEST_CLUSTER, "means")
    yield Row("balanced, largest cluster, peer rq-kmeans", largest, most, "means")
    yield Row("balanced, peer rq-kmeans", seconds_balanced, seconds, "s")
    yield Row("balanced, distortion, peer rq-kmeans", distortion(vectors, even), error, "MSE")


def resolution(sizes: Sizes) -> Iterator[Row]:
    """All collisions of a large catalogue, and of one that has few SIDs."""
    for name, codes in (("", CODES), (", many collisions", CODES // 2)):
        done = resolve(sizes.many, sizes.dimensions, LEVELS, codes)
        print(done, flush=True)
        case = f"{sizes.many:,} items resolved{name}"
        yield Row(case, done.seconds, RESOLUTION_SECONDS, "s")
        yield Row(f"{case}, memory, peer the vectors'", done.peak_memory, done.vectors, "bytes")


def on_gpu(sizes: Sizes) -> Iterator[Row]:
    """`rq-kmeans` of the large catalogue, where there is a GPU."""
    if torch.cuda.is_available():
        vectors = clustered_vectors(sizes.many, sizes.dimensions)
        plain = ResidualKMeans()
        plain.quantize(vectors[: 2 * CODES], LEVELS, CODES, seed=0)  # starts the GPU
        seconds, _ = timed(lambda: plain.quantize(vectors, LEVELS, CODES, seed=0))
        yield Row(f"{sizes.many:,} items on a GPU", seconds, GPU_SECONDS, "s")


def main() -> None:
    """Print the figures of every case."""
    sizes = SMALL if parse_small(__doc__) else Sizes()
    vectors = clustered_vectors(sizes.items, sizes.dimensions)
    print(f"{sizes.items:,} × {sizes.dimensions}, {LEVELS} levels of {CODES} codes", flush=True)
    rows = [*against_faiss(vectors), *resolution(sizes), *on_gpu(sizes)]
    report("sid", rows)


if __name__ == "__main__":
    main()
