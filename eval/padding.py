"""Lists of different lengths as one array."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def list_lengths(lists: pa.ChunkedArray) -> NDArray[np.int64]:
    """(rows,) how long each list of a column is."""
    lengths = lists.combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    return lengths.astype(np.int64)


def pad(values: NDArray[Any], lengths: NDArray[Any]) -> NDArray[np.int32]:
    """(rows, longest list, at least 1): lists that lie end to end, shorter ones filled with -1."""
    dense = np.full((len(lengths), max(1, lengths.max(initial=0))), -1, dtype=np.int32)
    dense[np.arange(dense.shape[1]) < lengths[:, None]] = values
    return dense
