"""The stages from a log to its splits, in a process of their own, with their time and memory."""

import multiprocessing
import os
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import psutil


@dataclass(frozen=True)
class Prepared:
    """What it took to prepare a log.

    Attributes:
        seconds: of each stage, with the hashes of its files.
        peak_memory: the most resident memory of the process, in bytes.
        counts: what the split counted.
    """

    rows: int
    seconds: Mapping[str, float]
    peak_memory: int
    counts: Mapping[str, int]

    @property
    def rate_per_core(self) -> float:
        """Rows a second and core."""
        return self.rows / sum(self.seconds.values()) / count_cores()

    def __str__(self) -> str:
        stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        kept = sum(self.counts[name] for name in ("train", "valid", "test"))
        return (
            f"{self.rows:,} rows: {stages}; {self.peak_memory / 1e9:.2f} GB; "
            f"{kept:,} targets in {self.counts['sequences']:,} sequences"
        )


def count_cores() -> int:
    """The cores that this process may use."""
    return len(psutil.Process().cpu_affinity() or []) or os.cpu_count() or 1


def prepare(log: Path, rows: int) -> Prepared:
    """Run ingest, filter and split on a log in a new process.

    Raises:
        SystemExit: the process failed.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(log, rows, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        raise SystemExit(f"data_prep: the stages failed on {log}") from None
    finally:
        process.join()


def _run(log: Path, rows: int, answer: Connection) -> None:
    from recllm.artifacts.cache import Artifact, Cache, PeakMemory
    from recllm.config.validation import validate
    from recllm.data_prep.filter import Filter
    from recllm.data_prep.ingest import Ingest
    from recllm.data_prep.split import SplitStage

    data = {"source": "files", "path": str(log), "split": "leave-one-out"}
    recipe = validate({"output_dir": "unused", "model": {"name": "unused"}, "data": data})
    artifacts: dict[str, Artifact] = {}
    seconds: dict[str, float] = {}
    with TemporaryDirectory(dir=log.parent) as folder, PeakMemory() as memory:
        cache = Cache(Path(folder))
        for kind in (Ingest, Filter, SplitStage):
            parents = {name: artifacts[name] for name in kind.parents}
            start = perf_counter()
            artifacts[kind.name] = cache.build(kind(recipe), parents)
            seconds[kind.name] = perf_counter() - start
        counts = artifacts[SplitStage.name].manifest.counts
    answer.send(Prepared(rows, seconds, memory.peak, counts))
