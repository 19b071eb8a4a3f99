"""A log from which some items are taken away, as if they were not there yet."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

pc: Any = pyarrow.compute  # its functions are made when it is imported
#: The share of the items that are taken away.
SHARE = 0.05


@dataclass(frozen=True)
class Log:
    """Interactions in the order of user and time, and the items that they speak of.

    Attributes:
        interactions: user_id, item_id, position (in the user's sequence).
        items: item_id, title and more.
    """

    interactions: pa.Table
    items: pa.Table


@dataclass(frozen=True)
class Targets:
    """The interactions with items that were taken away, each with what its user did before.

    Attributes:
        user_ids: of each row.
        histories: the ids of the earlier items of the user that were not taken away.
        item_ids: what the user took then.
    """

    user_ids: list[str]
    histories: list[list[str]]
    item_ids: list[str]

    def __len__(self) -> int:
        return len(self.item_ids)

    def take(self, rows: NDArray[np.int64]) -> "Targets":
        """Some of the rows."""
        lists = (self.user_ids, self.histories, self.item_ids)
        return Targets(*([values[row] for row in rows] for values in lists))


def read_beauty() -> Log:
    """Amazon Beauty from the folder that RECLLM_DATA names.

    Raises:
        SystemExit: it is not there.
    """
    folder = Path(os.environ.get("RECLLM_DATA", "")) / "amazon14-beauty"
    if not folder.is_dir() or "RECLLM_DATA" not in os.environ:
        raise SystemExit(
            "extension: skipped: set RECLLM_DATA to a folder with amazon14-beauty, or give --small"
        )
    interactions, items = (
        arrow_csv.read_csv(
            folder / f"{name}.csv.gz",
            convert_options=arrow_csv.ConvertOptions(
                column_types={"user_id": pa.string(), "item_id": pa.string()}
            ),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        )
        for name in ("interactions", "items")
    )
    order = [("user_id", "ascending"), ("position", "ascending")]
    return Log(interactions.sort_by(order), items.drop_columns("external_id"))


def read_simulated(cache: Path) -> Log:
    """The log of the recipe `demo`, after its filter."""
    from recllm.cli import pipeline
    from recllm.config.loading import load_recipe

    filtered = pipeline.run(load_recipe("demo", [f"cache_dir={cache}"]), "filter")["filter"].path
    items = pq.read_table(filtered / "items.parquet").drop_columns("item")
    owners = pq.read_table(filtered / "owners.parquet")
    log = pq.read_table(filtered / "interactions.parquet")  # in the order of sequence and time
    position = pa.array(range(len(log)))
    return Log(
        pa.table(
            {
                "user_id": owners["user_id"].take(log["sequence"]),
                "item_id": items["item_id"].take(log["item"]),
                "position": position,
            }
        ),
        items,
    )


def take_away(log: Log, folder: Path, seed: int) -> Targets:
    """Write what is left (log.parquet, items.parquet) and the items taken away (new.parquet).

    Returns:
        The rows that only a model that knows the new items can hit.
    """
    rng = np.random.default_rng(seed)
    count = len(log.items)
    chosen = np.sort(rng.choice(count, round(SHARE * count), replace=False))
    new = log.items.take(pa.array(chosen))
    is_new = pc.is_in(log.interactions["item_id"], value_set=new["item_id"].combine_chunks())
    gone = pc.is_in(log.items["item_id"], value_set=new["item_id"].combine_chunks())
    pq.write_table(log.interactions.filter(pc.invert(is_new)), folder / "log.parquet")
    pq.write_table(log.items.filter(pc.invert(gone)), folder / "items.parquet")
    pq.write_table(new, folder / "new.parquet")
    found = Targets([], [], [])
    user, history = None, []
    rows = zip(
        log.interactions["user_id"].to_pylist(),
        log.interactions["item_id"].to_pylist(),
        is_new.to_pylist(),
        strict=True,
    )
    for user_id, item_id, later in rows:
        if user_id != user:
            user, history = user_id, []
        if not later:
            history.append(item_id)
        elif history:
            found.user_ids.append(user_id)
            found.histories.append(history.copy())
            found.item_ids.append(item_id)
    return found
