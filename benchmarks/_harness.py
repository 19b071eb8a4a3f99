"""What all benchmarks share: their option, the clock, the table and the line of JSON."""

import argparse
import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeVar

Result = TypeVar("Result")

#: What units of metrics start with.
MORE_IS_BETTER = ("hit@", "ndcg@", "auc")


@dataclass(frozen=True)
class Row:
    """One figure of recllm beside the same figure of its peer.

    Attributes:
        case: what was measured; `bar` is the case that a figure is demanded of.
        recllm: the figure of recllm.
        peer: that of its peer.
        unit: of both; more is better of rates ("…/s"), hit@k, ndcg@k and auc, less of all else.
    """

    case: str
    recllm: float
    peer: float
    unit: str

    @property
    def ratio(self) -> float:
        """How many times better recllm is."""
        more_is_better = self.unit.endswith("/s") or self.unit.startswith(MORE_IS_BETTER)
        return self.recllm / self.peer if more_is_better else self.peer / self.recllm


def parse_small(description: str | None) -> bool:
    """Whether the command line asks for the small sizes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see that it works")
    return parser.parse_args().small


def timed(run: Callable[[], Result]) -> tuple[float, Result]:
    """How many seconds one call takes, and what it returns."""
    start = perf_counter()
    result = run()
    return perf_counter() - start, result


def median_seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """The median of several calls, after one that is not counted."""
    run()
    return median(timed(run)[0] for _ in range(repeats))


def describe_machine() -> str:
    """The processor, its cores, and the versions that figures depend on."""
    import torch

    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return (
        f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"{platform.system()}, Python {platform.python_version()}, {libraries}"
    )


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def report(benchmark: str, rows: Sequence[Row]) -> None:
    """Print the rows as a Markdown table, and as one JSON object on the last line."""
    machine = describe_machine()
    print(f"\n{benchmark} on {machine}\n")
    print("| case | recllm | peer | unit | ratio |")
    print("| --- | ---: | ---: | --- | ---: |")
    for row in rows:
        figures = f"{row.recllm:,.5g} | {row.peer:,.5g} | {row.unit} | {row.ratio:.3g}"
        print(f"| {row.case} | {figures} |")
    entries = [asdict(row) | {"ratio": row.ratio} for row in rows]
    print()
    print(json.dumps({"benchmark": benchmark, "machine": machine, "rows": entries}))
