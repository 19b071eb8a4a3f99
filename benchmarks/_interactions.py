"""A simulated log as shops have them: few users and items with much, many with little."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

SCHEMA = pa.schema(
    {
        "user_id": pa.string(),
        "item_id": pa.string(),
        "timestamp": pa.int64(),
        "rating": pa.float64(),
    }
)
ROWS_PER_USER, ROWS_PER_ITEM = 5, 20
#: Of the lognormal that says how active a user is, and of the Zipf law of the items.
ACTIVITY_SPREAD, ITEM_SKEW = 1.0, 1.0
FIRST_SECOND, SECONDS = 1_500_000_000, 150_000_000
CHUNK_ROWS = 1_000_000


@dataclass(frozen=True)
class SimulatedLog:
    """A log in the order of time, the same for the same number of rows."""

    rows: int

    def chunks(self) -> Iterator[pa.Table]:
        """The log, some rows at a time."""
        rng = np.random.default_rng(0)
        users, items = self.rows // ROWS_PER_USER, self.rows // ROWS_PER_ITEM
        activity = np.cumsum(rng.lognormal(0, ACTIVITY_SPREAD, users))
        popularity = np.cumsum(rng.permutation(np.arange(1, items + 1) ** -ITEM_SKEW))
        user_ids, item_ids = _ids("A", users, 13, rng), _ids("B", items, 9, rng)
        for first in range(0, self.rows, CHUNK_ROWS):
            count = min(CHUNK_ROWS, self.rows - first)
            passed = np.arange(first, first + count) / self.rows
            times = FIRST_SECOND + (passed * SECONDS).astype(np.int64)
            columns = [
                user_ids.take(_draw(activity, count, rng)),
                item_ids.take(_draw(popularity, count, rng)),
                pa.array(times),
                pa.array(rng.integers(1, 6, count).astype(np.float64)),
            ]
            yield pa.table(columns, SCHEMA)

    def write_parquet(self, path: Path) -> None:
        """Write it as Parquet."""
        with pq.ParquetWriter(path, SCHEMA) as writer:
            for chunk in self.chunks():
                writer.write_table(chunk)

    def write_json_lines(self, path: Path) -> None:
        """Write it as gzipped JSON lines."""
        with pa.output_stream(path, compression="gzip") as stream:
            for chunk in self.chunks():
                stream.write(_json_lines(chunk))


def _ids(first: str, count: int, digits: int, rng: np.random.Generator) -> pa.Array:
    """Distinct ids, as long as a shop's, in no order."""
    numbers = rng.permutation(count) * 7919 % 10**digits
    return pa.array([f"{first}{number:0{digits}d}" for number in numbers.tolist()])


def _draw(edges: NDArray[np.float64], count: int, rng: np.random.Generator) -> pa.Array:
    """Numbers drawn in proportion to the steps of `edges`."""
    drawn = np.searchsorted(edges, rng.random(count) * edges[-1], side="right")
    return pa.array(np.minimum(drawn, len(edges) - 1))


def _json_lines(table: pa.Table) -> bytes:
    """One object a line; the ids need no escapes."""
    parts: list[pa.ChunkedArray | str] = []
    for name in table.column_names:
        column = table[name]
        quote = '"' if pa.types.is_string(column.type) else ""
        parts += [f'{", " if parts else "{"}"{name}": {quote}', pc.cast(column, pa.string()), quote]
    lines = pc.call_function("binary_join_element_wise", [*parts, "}\n", ""])
    return b"".join(chunk.buffers()[2].to_pybytes() for chunk in lines.chunks)
