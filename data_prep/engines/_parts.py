"""The Parquet files that Spark's tasks write, as one file."""

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

#: As DuckDB writes them.
ROW_GROUP = 122_880
BATCH = 2**14
_PART = re.compile(r"^part-(\d+)-.*\.parquet$")


def join_parts(parts: Path, path: Path, schema: pa.Schema) -> None:
    """Join the files of a folder in the order of their numbers, holding a row group at a time."""
    numbered = sorted((int(found[1]), p) for p in parts.iterdir() if (found := _PART.match(p.name)))
    held: list[pa.RecordBatch] = []
    with pq.ParquetWriter(path, schema) as writer:
        for _, part in numbered:
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches(BATCH):
                    held.append(batch)
                    if sum(map(len, held)) >= ROW_GROUP:
                        held = _write_group(writer, held, schema)
        if held:
            _write_group(writer, held, schema)


def _write_group(
    writer: pq.ParquetWriter, held: list[pa.RecordBatch], schema: pa.Schema
) -> list[pa.RecordBatch]:
    """Write a row group, as full as can be; what is left over is returned."""
    table = pa.Table.from_batches(held)
    writer.write_table(table.slice(0, ROW_GROUP).cast(schema), row_group_size=ROW_GROUP)
    return table.slice(ROW_GROUP).to_batches()
