"""The prompts of reinforcement learning, each with its target and the history before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recllm.catalog.histories import History, Sequences, SplitRows
from recllm.config.rl_section import WHOLE
from recllm.prompts.examples import NOWHERE

_NO_HISTORY: NDArray[np.int32] = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class RlRows:
    """Prompts and what would be right.

    Attributes:
        prompts: token ids of each.
        targets: (rows,) int32 dense items; NOWHERE where nobody knows what followed.
        rows: (rows,) int64, the log row of each target; NOWHERE for a prompt of the catalogue
            alone, and where there is no target.
        histories: of each row all items before its target, oldest first; empty where it has none.
    """

    prompts: Sequence[Sequence[int]]
    targets: NDArray[np.int32]
    rows: NDArray[np.int64]
    histories: Sequence[History]

    @classmethod
    def read(cls, folder: Path, train: SplitRows, sequences: Sequences) -> "RlRows":
        """What the stage `rl_prompts` wrote.

        Args:
            train: the rows of the split, which hold the histories.
            sequences: of the split, whose training parts are whole histories.
        """
        table = pq.read_table(folder / "prompts.parquet")
        rows = table["row"].fill_null(NOWHERE).to_numpy()
        place = {int(row): index for index, row in enumerate(train.row)}
        histories: list[History] = [
            train.history(place[row]) if row in place else _NO_HISTORY for row in rows.tolist()
        ]
        if WHOLE in table.column_names:
            histories = [sequences.training[i] for i in table[WHOLE].to_pylist()]
        return cls(
            prompts=table["prompt"].to_pylist(),
            targets=table["item"].fill_null(NOWHERE).to_numpy().astype(np.int32),
            rows=rows,
            histories=histories,
        )

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, index: Sequence[int] | NDArray[np.integer]) -> "RlRows":
        """The rows at `index`, in its order."""
        index = np.asarray(index, dtype=np.int64)
        return RlRows(
            [self.prompts[i] for i in index],
            self.targets[index],
            self.rows[index],
            [self.histories[i] for i in index],
        )

    def without_repeats(self) -> "RlRows":
        """The rows whose target is not in their own history."""
        pairs = zip(self.targets, self.histories, strict=True)
        return self.select(np.flatnonzero([target not in history for target, history in pairs]))


def hard_first(ranks: NDArray[np.integer], *, finds_all: bool) -> NDArray[np.int64]:
    """An order of rows from the lowest rank of the target to the highest.

    Args:
        ranks: (rows,) 0-based rank of each target, -1 where it is not among the items looked at.
        finds_all: whether a rollout has the target even then. If not, these rows come last: what
            is not found gives no signal.
    """
    hardness = np.where(ranks < 0, np.iinfo(np.int64).max if finds_all else -1, ranks)
    return np.argsort(-hardness.astype(np.float64), kind="stable")
