"""Held-out rows whose target is not in the catalogue: nothing can rank it, so each is a miss."""

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from recllm.catalog.split_names import SplitName

#: user_id string, split string, one row for each; in the folder of the stage filter.
OUTSIDE_FILE = "outside.parquet"


def read_outside(folder: Path, split: SplitName) -> list[str]:
    """The user of each target of a split that is not in the catalogue.

    Args:
        folder: that of the filter stage.
    """
    path = folder / OUTSIDE_FILE
    if not path.is_file():
        return []
    return pq.read_table(path, filters=pc.field("split") == split)["user_id"].to_pylist()
