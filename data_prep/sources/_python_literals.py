"""Lines that are Python literals ({'asin': u'B0…', …}) instead of JSON, parsed without `eval`."""

import ast
import gzip
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

#: Longer lines are not parsed: Python's parser takes a hundred times their size.
LONGEST_LINE = 2**20
BATCH_LINES = 2**14
RAW_LENGTH = 1000


def holds_literals(path: Path) -> bool:
    """Whether the first line of a file is a Python literal and no JSON."""
    with _opened(path) as file:
        first = file.readline(LONGEST_LINE)
    return _values(first)[0] is not None and not _is_json(first)


def convert(path: Path, columns: Mapping[str, str], target: Path) -> None:
    """Write what `load` gives for `path` to the Parquet file `target`, batch by batch.

    Args:
        columns: new name to the file's own key.

    Raises:
        OSError, EOFError, zlib.error: the file cannot be read to its end.
    """
    schema = pa.schema(
        [(name, pa.string()) for name in columns]
        + [("row", pa.int64()), ("problem", pa.string()), ("raw", pa.string())]
    )
    with _opened(path) as file, pq.ParquetWriter(target, schema) as writer:
        rows = _rows(file, columns)
        while batch := list(islice(rows, BATCH_LINES)):
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema))


def _rows(file: IO[bytes], columns: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        if line.strip():
            values, problem = _values(line)
            if values is None:
                raw = line.decode("utf-8", "replace").strip()[:RAW_LENGTH]
                yield {"row": number, "problem": problem, "raw": raw}
            else:
                texts = {new: _text(values.get(own)) for new, own in columns.items()}
                yield {"row": number, **texts}
        while len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            line = file.readline(LONGEST_LINE + 1)
        number += 1


def _values(line: bytes) -> tuple[dict[Any, Any] | None, str | None]:
    """The object that a line holds, or why there is none."""
    if len(line) > LONGEST_LINE:
        return None, "line too long"
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None, "not UTF-8"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None, "not JSON"
    return (found, None) if isinstance(found, dict) else (None, "no JSON object")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _text(value: Any) -> str | None:
    """A value as `load` gives it: texts as they are, anything else as JSON."""
    if value is None or isinstance(value, str):
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    # half of a pair of surrogates, which a literal may hold, is no text
    return text and text.encode("utf-8", "replace").decode("utf-8")


def _opened(path: Path) -> IO[bytes]:
    gzipped = path.name.lower().endswith(".gz")
    return cast("IO[bytes]", gzip.open(path) if gzipped else path.open("rb"))
