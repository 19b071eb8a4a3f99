"""Splits: each divides the filtered interactions into train, valid and test rows."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

from recllm.config.registry import Plugin
from recllm.data_prep.tables import Connection, Table


class Split(Plugin):
    """Base of the splits. Subclasses are one file each and take their options as fields."""

    #: True where one time parts the rows of all users: such a split wants times, which positions
    #: of different users are not, and the leak lint holds it to its cut.
    global_cut: ClassVar[bool] = False

    @abstractmethod
    def divide(self, con: Connection, log: Table, out: Path) -> dict[str, int]:
        """Write `sequences.parquet`, `train.parquet`, `valid.parquet`, `test.parquet`.

        Args:
            log: the interactions that the filter stage left: row int64, user_id string, item
                int32, timestamp int64, …
            out: where to write.

        sequences: sequence int64 (0, 1, …), user_id string, items list<int32>, rows list<int64>
        (the log rows), train_end int64 (how many leading items are training interactions);
        sorted by sequence.
        Each split: row int64 (of the target interaction), user_id string, sequence int64,
        start int64, end int64, target int32. The history is sequence's items[start:end], never
        empty, the target the item that follows it; sorted by sequence, end.

        Returns:
            Counts for the manifest: `sequences`, `train`, `valid`, `test`, what has no training
            interaction (`cold_items`, `cold_users`, `cold_targets_valid`, `cold_targets_test`),
            and what was left out.
        """
