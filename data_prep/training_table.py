"""Training rows as `train.parquet`, and a few of them as text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recllm.errors import UserError

ROWS_A_WRITE = 20_000
SAMPLES = 3

SCHEMA = pa.schema(
    {
        "task": pa.string(),
        "row": pa.int64(),
        "input_ids": pa.list_(pa.int32()),
        "labels": pa.list_(pa.int32()),
    }
)


def write_rows(rows: Iterator[Any], path: Path) -> dict[str, int]:
    """Write training rows in parts; counts rows, of each task too, tokens and supervised tokens.

    Raises:
        UserError: there are none.
    """
    counts: dict[str, int] = {"rows": 0, "tokens": 0, "supervised_tokens": 0}
    with pq.ParquetWriter(path, SCHEMA) as writer:
        batch: list[dict[str, Any]] = []
        for row in rows:
            batch.append(vars(row))
            counts["rows"] += 1
            of_task = f"rows_{row.task.replace('-', '_')}"
            counts[of_task] = counts.get(of_task, 0) + 1
            counts["tokens"] += len(row.input_ids)
            counts["supervised_tokens"] += sum(label >= 0 for label in row.labels)
            if len(batch) == ROWS_A_WRITE:
                writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
    if counts["rows"] == 0:
        raise UserError(
            "there is nothing to train on: no user has two training interactions; "
            "give a longer log, or filter less (data.k_core, data.min_rating)"
        )
    return counts


def describe_samples(path: Path, tokenizer: Any) -> str:
    """A few rows of each task as text, with what carries loss marked."""
    table = pq.read_table(path)
    lines = ["# Training rows", "", "Text that carries loss stands between ⟦ and ⟧."]
    for task in sorted(set(table["task"].to_pylist())):
        rows = table.filter(pc.field("task") == task).slice(0, SAMPLES).to_pylist()
        lines += ["", f"## {task}"]
        for row in rows:
            number = row["row"]
            place = "An item" if number is None else f"Row {number} of the log"
            lines += ["", f"{place}:", "", "```text", _marked(row, tokenizer)]
            lines += ["```"]
    return "\n".join(lines) + "\n"


def _marked(row: dict[str, Any], tokenizer: Any) -> str:
    text, inside, run = "", False, []
    for token, label in zip(row["input_ids"], row["labels"], strict=True):
        if (label >= 0) != inside:
            text += tokenizer.decode(run) + ("⟧" if inside else "⟦")
            inside, run = not inside, []
        run.append(token)
    return text + tokenizer.decode(run) + ("⟧" if inside else "")
