"""From a log to training windows, against Python loops and pandas; and at 20M interactions.

`bar`: the stages filter (5-core) and split (leave-one-out) on an ingested log of 1M interactions,
from its Parquet file to the written tables, where a window is an offset into a sequence. The peer
reads the same file and writes one list a window, as CSV. Both have the same windows of at most 20
items. Then pandas, vectorised, to Parquet. Then MiniOneRec's split, against what its own script
does, which copies five lists for each window.

The last rows run ingest, filter and split in a process of their own. Their peers are goals: 0.4M
rows a second and core from Parquet, 0.2M from gzipped JSON lines, 4 GB, and the cost of a row in
a log of a tenth of the size.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import _minionerec_windows, _windows
from benchmarks._harness import Row, median_seconds, parse_small, report, timed
from benchmarks._interactions import SimulatedLog
from benchmarks._stages import Prepared, prepare

#: Rows of a row group, as the stage writes them.
ROW_GROUP = 122_880
RATE_FROM_PARQUET, RATE_FROM_JSON, MEMORY = 0.4e6, 0.2e6, 4e9


@dataclass(frozen=True)
class Sizes:
    """Interactions in the logs."""

    bar: int = 1_000_000
    small: int = 2_000_000
    large: int = 20_000_000


SMALL = Sizes(bar=20_000, small=20_000, large=60_000)


def windows(rows: int, folder: Path) -> Iterator[Row]:
    """The bar, and the same beside pandas."""
    log = _ingested(rows, folder / "ingested") / "interactions.parquet"

    def by_stages() -> None:
        with TemporaryDirectory(dir=folder) as out:
            _windows.write_by_stages(log.parent, Path(out))

    with TemporaryDirectory(dir=folder) as out:
        split = _windows.write_by_stages(log.parent, Path(out))
        found = _windows.read_offsets(split)
    _, vectorised = _windows.offsets_by_pandas(log)
    _, expected = _windows.windows_by_loops(log)
    for name, rows_of in expected.items():
        lists = _windows.lists_of(rows_of)
        if not all(ways[name].as_lists().equals(lists) for ways in (found, vectorised)):
            raise SystemExit(f"data_prep: the ways have different windows of {name}")
    told = ", ".join(f"{len(rows_of):,} of {name}" for name, rows_of in expected.items())
    print(f"{rows:,} rows, the same windows: {told}", flush=True)
    ours, written = median_seconds(by_stages), folder / "windows"
    peers = {"bar": _windows.write_by_loops, "bar, peer pandas": _windows.write_by_pandas}
    for case, peer in peers.items():
        yield Row(case, ours, median_seconds(partial(peer, log, written)), "s")


def against_script(rows: int, folder: Path) -> Iterator[Row]:
    """The same log with MiniOneRec's split, against what its script does."""
    ingested, script = _ingested(rows, folder / "reviews"), folder / "script"

    def by_stages() -> None:
        with TemporaryDirectory(dir=folder) as out:
            _windows.write_by_stages(ingested, Path(out), split="minionerec")

    by_script = partial(_minionerec_windows.write_by_script, ingested, script)
    theirs, _ = timed(by_script)
    with TemporaryDirectory(dir=folder) as out:
        split = _windows.write_by_stages(ingested, Path(out), split="minionerec")
        ids = pq.read_table(Path(out) / "filter" / "items.parquet")["item_id"].to_pylist()
        found = _windows.read_offsets(split, _minionerec_windows.MAX_HISTORY)
    for name, expected in _minionerec_windows.read_windows(script).items():
        lists = found[name].as_lists().to_pylist()
        windows = [
            (row["user_id"], [ids[item] for item in row["history"]], ids[row["target"]])
            for row in lists
        ]
        if sorted(windows) != sorted(expected):
            raise SystemExit(f"data_prep: MiniOneRec's script has other windows of {name}")
    yield Row("as MiniOneRec's script", median_seconds(by_stages), theirs, "s")


def _ingested(rows: int, folder: Path) -> Path:
    """The tables of the stage `ingest`, written at once."""
    folder.mkdir()
    log = pa.concat_tables(SimulatedLog(rows).chunks()).drop_columns("rating")
    log = log.add_column(0, "row", pa.array(range(rows), pa.int64()))
    items = log["item_id"].unique()
    pq.write_table(log, folder / "interactions.parquet", row_group_size=ROW_GROUP)
    pq.write_table(pa.table([items, items], ["item_id", "title"]), folder / "items.parquet")
    return folder


def scale(sizes: Sizes, folder: Path) -> Iterator[Row]:
    """The stages on large logs."""
    least = _prepare(sizes.small, folder / "small.parquet", SimulatedLog.write_parquet)
    large = _prepare(sizes.large, folder / "large.parquet", SimulatedLog.write_parquet)
    json = _prepare(sizes.large, folder / "large.jsonl.gz", SimulatedLog.write_json_lines)
    name = f"{sizes.large:,} rows"
    yield Row(f"{name} from Parquet", large.rate_per_core, RATE_FROM_PARQUET, "rows/core/s")
    yield Row(f"{name} from JSON lines, gz", json.rate_per_core, RATE_FROM_JSON, "rows/core/s")
    yield Row(f"{name} from Parquet, memory", large.peak_memory, MEMORY, "bytes")
    yield Row(f"{name} from JSON lines, memory", json.peak_memory, MEMORY, "bytes")
    cost, least_cost = (1e6 * sum(run.seconds.values()) / run.rows for run in (large, least))
    yield Row(f"a row of {name}, peer of {sizes.small:,}", cost, least_cost, "µs")


def _prepare(rows: int, path: Path, write: Callable[[SimulatedLog, Path], None]) -> Prepared:
    seconds, _ = timed(lambda: write(SimulatedLog(rows), path))
    print(f"wrote {path.name}, {path.stat().st_size / 1e9:.2f} GB, in {seconds:.0f} s", flush=True)
    done = prepare(path, rows)
    path.unlink()
    print(done, flush=True)
    return done


def main() -> None:
    """Print the figures of every case."""
    sizes = SMALL if parse_small(__doc__) else Sizes()
    with TemporaryDirectory(prefix="recllm-data-prep-") as folder:
        place = Path(folder)
        rows = [*windows(sizes.bar, place), *against_script(sizes.bar, place)]
        rows += scale(sizes, place)
    report("data_prep", rows)


if __name__ == "__main__":
    main()
