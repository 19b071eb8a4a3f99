"""Files of vectors with ids, read piece by piece: npy, safetensors and Parquet; no pickles."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recllm.errors import UserError

pc: Any = pyarrow.compute  # its functions are made when it is imported

#: Rows that are read at once: bounds the memory.
BATCH_ROWS = 2**14
#: In the header of a safetensors file: a JSON list of the ids.
IDS = "item_ids"
ID_COLUMN, VECTOR_COLUMN = "item_id", "vector"

Batch = tuple[list[str], NDArray[Any]]


def read_keyed_vectors(path: Path, ids: Path | None) -> Iterator[Batch]:
    """The ids and vectors of a file, some rows at a time: (rows,) and (rows, width).

    Args:
        path: .npy, one array of two dimensions; .safetensors, with the array `vectors`, or with
            one array alone; or .parquet, with the columns item_id and vector (lists of numbers).
        ids: a text file with the id of each row, one a line. Parquet has its own; a safetensors
            file may have them in its header.

    Raises:
        UserError: the file cannot be read, or is not of this form.
    """
    for file in filter(None, (path, ids)):
        require_file(file)
    if path.suffix == ".parquet":
        yield from _read_parquet(path)
        return
    read = _read_npy if path.suffix == ".npy" else _read_safetensors
    yield from read(path, None if ids is None else _read_lines(ids))


def require_file(path: Path) -> Path:
    """The path of a file.

    Raises:
        UserError: there is none.
    """
    if not path.is_file():
        raise UserError(f"{path}: expected a file, found {'a folder' if path.is_dir() else 'none'}")
    return path


def _read_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected text in UTF-8: {error}") from None
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _read_npy(path: Path, ids: list[str] | None) -> Iterator[Batch]:
    if ids is None:
        raise UserError(
            f"{path}: an npy file has no ids; name a text file with the item_id of each row, one "
            "a line, with embed.ids"
        )
    try:
        vectors: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")  # refuses objects
    except (ValueError, EOFError) as error:
        raise UserError(f"{path}: expected an array of numbers in npy format: {error}") from None
    _check_array(path, vectors.shape, str(vectors.dtype), vectors.dtype.kind in "fiu", ids)
    for start in range(0, len(vectors), BATCH_ROWS):
        rows = slice(start, start + BATCH_ROWS)
        yield ids[rows], vectors[rows]


def _read_safetensors(path: Path, ids: list[str] | None) -> Iterator[Batch]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as opened:  # numpy has no bfloat16
            name = _name_of_vectors(path, list(opened.keys()))
            if ids is None:
                ids = _ids_of_header(path, opened.metadata() or {})
            vectors = opened.get_slice(name)
            shape, dtype = tuple(vectors.get_shape()), vectors.get_dtype()
            _check_array(path, shape, dtype, dtype[0] in "FBIU" and dtype != "BOOL", ids)
            for start in range(0, shape[0], BATCH_ROWS):
                end = start + BATCH_ROWS
                yield ids[start:end], vectors[start:end].float().numpy()
    except SafetensorError as error:
        raise UserError(f"{path}: expected a safetensors file: {error}") from None


def _name_of_vectors(path: Path, names: list[str]) -> str:
    if "vectors" in names or len(names) == 1:
        return "vectors" if "vectors" in names else names[0]
    raise UserError(
        f"{path}: expected an array called vectors, or one array alone, found "
        f"{', '.join(sorted(names)) or 'none'}"
    )


def _ids_of_header(path: Path, header: dict[str, str]) -> list[str]:
    try:
        ids = json.loads(header[IDS])
        if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
            raise ValueError("it is not a list of strings")
    except KeyError:
        raise UserError(
            f"{path}: its header has no {IDS!r}, a JSON list of the item_id of each row; name a "
            "text file with them, one a line, with embed.ids"
        ) from None
    except ValueError as error:
        raise UserError(f"{path}: {IDS!r} in its header: expected a JSON list: {error}") from None
    return ids


def _check_array(
    path: Path, shape: tuple[int, ...], dtype: str, is_number: bool, ids: list[str]
) -> None:
    if len(shape) != 2 or not shape[1] or not is_number:
        found = f"{dtype} of shape {shape}"
        raise UserError(f"{path}: expected numbers of shape (items, width), found {found}")
    if len(ids) != shape[0]:
        raise UserError(f"{path}: expected one id for each of {shape[0]} rows, found {len(ids)}")


def _read_parquet(path: Path) -> Iterator[Batch]:
    try:
        with pq.ParquetFile(path) as file:
            _check_schema(path, file.schema_arrow)
            width: int | None = None
            columns = [ID_COLUMN, VECTOR_COLUMN]
            for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                ids = pc.cast(batch[ID_COLUMN], pa.string())
                if ids.null_count:
                    raise UserError(f"{path}: {ids.null_count} rows have no {ID_COLUMN}")
                vectors, width = _rows_of_lists(path, batch[VECTOR_COLUMN], ids, width)
                yield ids.to_pylist(), vectors
    except pa.ArrowException as error:
        raise UserError(f"{path}: the Parquet file cannot be read: {error}") from None


def _check_schema(path: Path, schema: pa.Schema) -> None:
    for name in (ID_COLUMN, VECTOR_COLUMN):
        if name not in schema.names:
            found = ", ".join(schema.names)
            raise UserError(f"{path}: expected a column {name!r}, found {found}")
    kind = schema.field(VECTOR_COLUMN).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    is_list = is_list or pa.types.is_fixed_size_list(kind)
    inner = kind.value_type if is_list else None
    if inner is None or not (pa.types.is_floating(inner) or pa.types.is_integer(inner)):
        raise UserError(f"{path}: {VECTOR_COLUMN}: expected lists of numbers, found {kind}")
    kind = schema.field(ID_COLUMN).type
    if not (
        pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    ):
        raise UserError(f"{path}: {ID_COLUMN}: expected strings or whole numbers, found {kind}")


def _rows_of_lists(path: Path, lists: Any, ids: Any, width: int | None) -> tuple[NDArray[Any], int]:
    """A column of lists as an array, and its width, which is that of the batches before."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    width = int(lengths[0]) if width is None else width
    wrong = np.flatnonzero(lengths != width)
    if len(wrong) or not width:
        first = int(wrong[0]) if len(wrong) else 0
        raise UserError(
            f"{path}: expected vectors of one width ({width}, that of the first), found one of "
            f"{lengths[first]} for {ids[first].as_py()!r}"
        )
    values = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
    return values.reshape(len(lists), width), width
