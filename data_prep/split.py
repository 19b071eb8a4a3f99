"""The stage `split`: which interactions are trained on, validated on and tested on."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recllm.artifacts.stage import Stage
from recllm.data_prep.logs import is_order_only
from recllm.data_prep.tables import session
from recllm.errors import UserError

log = logging.getLogger(__name__)


class SplitStage(Stage):
    """Runs the recipe's split."""

    name = "split"
    version = 3  # marks cold targets
    parents = ("ingest", "filter")

    def settings(self) -> dict[str, Any]:
        """The split and its options, and whether cold targets are dropped."""
        split, drop_cold = self.recipe.data.split, self.recipe.data.drop_cold
        options = split.model_dump(mode="json")
        return {"split": split.name, "options": options, "drop_cold": drop_cold}

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        """Write the sequences and the three splits; see `recllm.data_prep.splits`.

        Raises:
            UserError: a split is empty, or one by time is asked of a log without times.
        """
        if self.recipe.data.split.global_cut and is_order_only(inputs["ingest"]):
            raise UserError(
                f"data.split is {self.recipe.data.split.name}, but the log has positions and no "
                "times: those of different users do not compare; name a column of times with "
                "data.columns.time, or set data.split to leave_one_out"
            )
        with session(self.recipe.data) as con:
            split, drop_cold = self.recipe.data.split, self.recipe.data.drop_cold
            counts = split.divide(con, inputs["filter"], out, drop_cold)
        empty = [name for name in split.needed if not counts[name]]
        if empty:
            only = split.name == "given" and "test" not in empty
            hint = ", or data.evaluate_only: true where nothing is trained" if only else ""
            sizes = ", ".join(f"{name} {number}" for name, number in counts.items())
            raise UserError(
                f"the split {self.recipe.data.split.name} leaves {' and '.join(empty)} without "
                f"rows ({sizes}); use a larger log, or another data.k_core or data.split{hint}"
            )
        if not counts["train"]:
            log.warning("no training rows: the baselines, which learn from them, know nothing")
        return counts
