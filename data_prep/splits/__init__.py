"""Splits: each divides the filtered interactions into train, valid and test rows."""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Literal

from recllm.catalog.split_names import SPLITS, SplitName
from recllm.config.registry import Plugin
from recllm.data_prep.splits._positions import read_places, write_positions
from recllm.data_prep.tables import Connection, Table, read


class Split(Plugin):
    """Base of the splits. Subclasses are one file each and take their options as fields."""

    #: Where one cut parts the rows of all users: at a `time`, on one side of which equal times lie
    #: together, or at a `row` of the log in the order of time. Such a split wants times, which
    #: positions of different users are not, and the leak lint holds it to its cut.
    global_cut: ClassVar[Literal["time", "row"] | None] = None

    @property
    def needed(self) -> tuple[SplitName, ...]:
        """The splits that must have rows."""
        return SPLITS

    @abstractmethod
    def label(self, con: Connection, log: Table, owners: Table) -> tuple[Table, dict[str, int]]:
        """Say of each interaction what it is a target of, and what its history is.

        Args:
            log: the interactions that the filter stage left, with their places, see
                `_positions.read_places`; those without is_target may stand in histories, but may
                be no targets.
            owners: sequence, user_id.

        Returns:
            The positions that `write_positions` takes, and counts of what was left out.
        """

    def divide(
        self, con: Connection, filtered: Path, out: Path, drop_cold: bool = False
    ) -> dict[str, int]:
        """Write `sequences.parquet`, `train.parquet`, `valid.parquet`, `test.parquet`.

        Args:
            filtered: the folder of the stage filter.
            out: where to write.
            drop_cold: leave out targets of valid and test that have no training interaction.

        sequences: sequence int64 (0, 1, …), user_id string, items list<int32>, rows list<int64>
        (the log rows), train_end int64 (how many leading items are training interactions);
        sorted by sequence.
        Each split: row int64 (of the target interaction), user_id string, sequence int64,
        start int64, end int64, target int32; valid and test also cold_item boolean and cold_user
        boolean: whether the target's item, or the user, has no training interaction. The history
        is sequence's items[start:end], never empty, the target the item that follows it; sorted
        by sequence, end.

        Returns:
            Counts for the manifest: `sequences`, `train`, `valid`, `test`, what has no training
            interaction (`cold_items`, `cold_users`, and of the rows that were written
            `cold_targets_valid`, `cold_targets_test`), and what was left out (such as
            `dropped_cold_targets_valid`, `dropped_cold_targets_test`, where asked for).
        """
        owners = read(con, filtered / "owners.parquet")
        positions, counts = self.label(con, read_places(con, filtered), owners)
        return write_positions(con, positions, filtered, out, drop_cold) | counts
