"""Collision resolution of a large catalogue, in a process of its own, with its time and memory."""

import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection


@dataclass(frozen=True)
class Resolved:
    """What it took to resolve collisions.

    Attributes:
        collisions: items that shared a SID.
        moved: items that got another SID.
        cost: the rise of the mean squared error, relative.
        peak_memory: the most resident memory of the process meanwhile, in bytes.
        vectors: bytes of the vectors, which are part of it.
    """

    items: int
    codes: int
    seconds: float
    collisions: int
    moved: int
    moved_prefix: int
    cost: float
    peak_memory: int
    vectors: int

    def __str__(self) -> str:
        return (
            f"{self.items:,} items, {self.codes} codes: {self.collisions:,} shared a SID, "
            f"{self.moved:,} moved ({self.moved_prefix:,} to another prefix), "
            f"MSE +{self.cost:.1%}, {self.seconds:.1f} s, {self.peak_memory / 1e9:.2f} GB "
            f"(vectors {self.vectors / 1e9:.2f} GB)"
        )


def resolve(items: int, dimensions: int, levels: int, codes: int) -> Resolved:
    """Quantize a simulated catalogue with `rq-kmeans` and resolve it, in a new process.

    Raises:
        SystemExit: the process failed, or two items have the same SID.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(items, dimensions, levels, codes, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise SystemExit(f"sid: resolution of {items} items failed") from None
    finally:
        process.join()


def _run(items: int, dimensions: int, levels: int, codes: int, answer: Connection) -> None:
    import numpy as np

    from benchmarks._harness import timed
    from benchmarks._item_vectors import clustered_vectors
    from recllm.artifacts.cache import PeakMemory
    from recllm.catalog.resolution import resolve_collisions
    from recllm.catalog.sid_tree import node_ids
    from recllm.data_prep.quantizers.rq_kmeans import ResidualKMeans

    vectors = clustered_vectors(items, dimensions)
    given = ResidualKMeans().quantize(vectors, levels, codes, seed=0)
    with PeakMemory() as memory:
        seconds, found = timed(lambda: resolve_collisions(given.codes, vectors, given.codebooks))
    sids = node_ids(given.codes, levels, codes)
    if len(np.unique(node_ids(found.codes, levels, codes))) < items:
        raise SystemExit("sid: two items have the same SID")
    resolved = Resolved(
        items=items,
        codes=codes,
        seconds=seconds,
        collisions=int((np.bincount(sids)[sids] > 1).sum()),
        moved=found.moved,
        moved_prefix=found.moved_prefix,
        cost=found.mse_after / found.mse_before - 1,
        peak_memory=memory.peak,
        vectors=vectors.nbytes,
    )
    answer.send(resolved)
