"""The stage `statistics`: what the filtered log and its split are like."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recllm.artifacts.manifest import Manifest
from recllm.artifacts.stage import Stage
from recllm.catalog.histories import Sequences, SplitRows, read_moments
from recllm.catalog.split_names import HELD_OUT, SPLITS
from recllm.data_prep.logs import is_order_only
from recllm.data_prep.statistics.curves import (
    interactions_by_popularity,
    interactions_over_time,
    sequences_by_length,
)
from recllm.data_prep.statistics.figures import describe_log, read_log
from recllm.data_prep.tables import session
from recllm.prompts.leaks import count_repeats, find_leaks


class Statistics(Stage):
    """Writes `statistics.json`.

    `log`: see `recllm.data_prep.statistics.figures`, with `order_only`, under which there are no
    times; `split`: its name, the rows of each split, and the shares of the targets that are cold;
    `leaks` of the split and the counts of `repeated_targets`; `curves`: see
    `recllm.data_prep.statistics.curves`.
    """

    name = "statistics"
    parents = ("ingest", "filter", "split")

    def settings(self) -> dict[str, Any]:
        """Nothing: the parents decide all."""
        return {}

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Measure; see the base class."""
        order_only = is_order_only(inputs["ingest"])
        with session(self.recipe.data) as con:
            log = read_log(con, inputs["filter"])
            figures = describe_log(con, log) | {"order_only": order_only}
            curves = {
                "sequences_by_length": sequences_by_length(log),
                "interactions_by_popularity": interactions_by_popularity(con, log),
            }
            if order_only:
                figures |= {"first_time": None, "last_time": None}
            else:
                curves["interactions_over_time"] = interactions_over_time(log)
        found = {"log": figures, **self._describe_split(inputs), "curves": curves}
        (out / "statistics.json").write_text(json.dumps(found, indent=2, allow_nan=False))
        return {
            "interactions": figures["interactions"],
            "leaks": sum(leak["count"] for leak in found["leaks"]),
        }

    def _describe_split(self, inputs: Mapping[str, Path]) -> dict[str, Any]:
        split = self.recipe.data.split
        manifest = Manifest.read(inputs["split"])
        assert manifest is not None, inputs["split"]
        counts = manifest.counts
        sequences = Sequences.read(inputs["split"])
        rows = {name: SplitRows.read(inputs["split"], name, sequences) for name in SPLITS}
        times = read_moments(inputs["filter"], sequences, split.global_cut)
        cold = {
            f"{name}_cold_share": counts[f"cold_targets_{name}"] / counts[name] for name in HELD_OUT
        }
        return {
            "split": {"name": split.name, **{name: counts[name] for name in SPLITS}, **cold},
            "leaks": [vars(leak) for leak in find_leaks(sequences, rows, times)],
            "repeated_targets": {name: count_repeats(found) for name, found in rows.items()},
        }
