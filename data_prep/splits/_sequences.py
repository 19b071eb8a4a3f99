"""The sequences of a split: the filtered interactions once more, with a list a sequence."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema(
    {
        "sequence": pa.int64(),
        "user_id": pa.string(),
        "items": pa.list_(pa.int32()),
        "rows": pa.list_(pa.int64()),
        "train_end": pa.int64(),
    }
)
VALUES = pa.schema({"row": pa.int64(), "item": pa.int32()})
BATCH_SEQUENCES = 2**15


def write_sequences(lengths: Path, interactions: Path, out: Path) -> None:
    """Write `sequences.parquet`: sequence, user_id, items, rows, train_end.

    Args:
        lengths: a Parquet file of sequence, user_id, length and train_end, in order.
        interactions: a Parquet file with row and item of each interaction, one sequence after the
            other, in the same order.
    """
    with (
        pq.ParquetFile(lengths) as sequences,
        pq.ParquetFile(interactions) as file,
        pq.ParquetWriter(out, SCHEMA, use_dictionary=False) as writer,
    ):
        values = _Values(file)
        for batch in sequences.iter_batches(BATCH_SEQUENCES):
            offsets = np.concatenate([[0], np.cumsum(batch["length"].to_numpy())])
            taken = values.take(int(offsets[-1]))
            lists = (
                pa.ListArray.from_arrays(
                    pa.array(offsets, pa.int32()), taken[name].combine_chunks()
                )
                for name in ("item", "row")
            )
            columns = [batch["sequence"], batch["user_id"], *lists, batch["train_end"]]
            writer.write_table(pa.table(columns, schema=SCHEMA))
        if not values.at_end:
            raise ValueError(f"{interactions}: more interactions than {lengths} tells of")


class _Values:
    """The rows and items of a file of interactions, taken from its start on."""

    def __init__(self, file: pq.ParquetFile) -> None:
        self._batches = file.iter_batches(columns=VALUES.names)
        self._held = VALUES.empty_table()

    def take(self, count: int) -> pa.Table:
        """The next `count`, at least one.

        Raises:
            ValueError: there are fewer.
        """
        held = [self._held]
        while sum(map(len, held)) < count:
            batch = next(self._batches, None)
            if batch is None:
                raise ValueError(f"expected {count} more interactions, found {sum(map(len, held))}")
            held.append(pa.Table.from_batches([batch]).cast(VALUES))
        found = pa.concat_tables(held)
        self._held = found.slice(count)
        return found.slice(0, count)

    @property
    def at_end(self) -> bool:
        """Whether all were taken."""
        return not len(self._held) and next(self._batches, None) is None
