"""A split that the user brings: the log says of each interaction what it is for."""

from pathlib import Path

from recllm.catalog.split_names import HELD_OUT, SPLITS
from recllm.data_prep.splits import Split
from recllm.data_prep.splits._positions import number_groups, write_positions
from recllm.data_prep.tables import Connection, Table, scalars
from recllm.errors import UserError


class Given(Split):
    """Reads columns that the source left in the interactions.

    `split` is `train`, `valid` or `test`; an interaction without one is history only. `sequence`,
    where the log has it, groups the interactions instead of the user. `history` says how many of
    the items before an interaction are its history, 0 that it is no target; without this column
    they all are, and every labelled interaction but a sequence's first is a target.
    """

    def divide(self, con: Connection, log: Table, out: Path) -> dict[str, int]:
        """See `Split.divide`.

        Counts `history_only` (interactions without a label) and `no_history` (labelled valid or
        test, but the first of their sequence) too.

        Raises:
            UserError: there is no such column, a label is unknown, or a user's validation or
                test interaction comes before a training one.
        """
        import ibis

        if "split" not in log.columns:
            raise UserError(
                "data.split is given, but the log has no column that says train, valid or "
                "test; name it with data.columns.split, or use data.source: chains"
            )
        placed = number_groups(log, "sequence" if "sequence" in log.columns else "user_id")
        held_out = placed.split.isin(HELD_OUT)
        trained = placed.split == "train"
        tested_at = ibis.ifelse(placed.split == "test", placed.end, None)
        by_sequence = ibis.window(group_by=placed.sequence)
        not_trained_at = ibis.ifelse(trained.fill_null(False), None, placed.end)
        train_end = not_trained_at.min().over(by_sequence).fill_null(placed.length)
        history = placed.history if "history" in placed.columns else placed.end
        positions = placed.mutate(
            start=placed.end - history,
            train_end=train_end,
            test_start=tested_at.min().over(by_sequence),
            target_of=ibis.ifelse(history > 0, placed.split, None),
        )
        tested = (positions.split == "valid") & (positions.end > positions.test_start)
        early = (trained & (positions.end >= positions.train_end)) | tested
        sums = {
            "history_only": positions.split.isnull().sum(),
            "no_history": (held_out & (positions.end == 0)).sum(),
            "unknown": (~positions.split.isin(SPLITS)).sum(),
            "early": positions.sequence.nunique(where=early.fill_null(False)),
        }
        found = {k: int(n or 0) for k, n in scalars(positions.aggregate(**sums)).items()}
        _refuse(found.pop("unknown"), found.pop("early"))
        return write_positions(con, positions, out) | found


def _refuse(unknown: int, early: int) -> None:
    if unknown:
        raise UserError(
            f"{unknown} interactions have a split other than {', '.join(SPLITS)} "
            "(or none, for history only); rename it"
        )
    if early:
        raise UserError(
            f"in {early} sequences a training interaction comes after one that is not, or a "
            "validation interaction after a test one; a model would be trained or chosen on what "
            "it is tested on: mend the labels"
        )
