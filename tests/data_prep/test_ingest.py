"""What the stage `ingest` holds every source's tables to."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recllm.data_prep.ingest import INTERACTIONS, check_tables
from recllm.data_prep.tables import session


def check(folder: Path, rows: list[int | None]) -> None:
    """Check a log with these rows."""
    log = [{"row": row, "user_id": "u", "item_id": "i", "timestamp": 0} for row in rows]
    pq.write_table(
        pa.Table.from_pylist(log, pa.schema(INTERACTIONS)), folder / "interactions.parquet"
    )
    pq.write_table(pa.table({"item_id": ["i"], "title": ["I"]}), folder / "items.parquet")
    with session() as con:
        check_tables(con, folder)


def test_rows_count_from_zero(tmp_path: Path) -> None:
    check(tmp_path, list(range(100_000)))


@pytest.mark.parametrize(
    "rows",
    [[1, 2], [0, 2], [0, 0, 2], [0, 2, 1], [0, None], [*range(99_999), 0]],
    ids=["not from 0", "gap", "twice", "not in order", "null", "late"],
)
def test_rows_that_do_not(tmp_path: Path, rows: list[int | None]) -> None:
    with pytest.raises(ValueError, match="row must count from 0"):
        check(tmp_path, rows)
