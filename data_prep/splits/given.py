"""A split that the user brings: the log says of each interaction what it is for."""

from pydantic import Field

from recllm.catalog.split_names import HELD_OUT, SPLITS, SplitName
from recllm.data_prep.splits import Split
from recllm.data_prep.splits._positions import may_be_target
from recllm.data_prep.tables import Column, Connection, Table, scalars
from recllm.errors import UserError


class Given(Split):
    """Reads columns that the source left in the interactions.

    `split` is `train`, `valid` or `test`; an interaction without one is history only. `history`
    says, of ready-made histories, how many of the items before an interaction are its history, 0
    that it is no target; without this column they all are, and every labelled interaction but a
    sequence's first is a target.
    """

    evaluate_only: bool = Field(
        default=False, description="only test needs rows: for checkpoints that were trained already"
    )

    @property
    def needed(self) -> tuple[SplitName, ...]:
        """All, or only `test` where nothing is trained."""
        return ("test",) if self.evaluate_only else SPLITS

    def label(self, con: Connection, log: Table, owners: Table) -> tuple[Table, dict[str, int]]:
        """See `Split.label`.

        Counts `history_only` (interactions without a label, or that may be no targets) and
        `no_history` (labelled valid or test, but the first of their sequence) too.

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
        del con, owners
        history = log.history if "history" in log.columns else log.end
        trained = (log.split == "train").fill_null(False)
        tested = (log.split == "test").fill_null(False)
        # What may be no target needs no label: among training interactions it is one of them.
        is_target = may_be_target(log)
        other = ~trained & (is_target | log.split.notnull())
        by_sequence = ibis.window(group_by=log.sequence)
        trained_at: Column = ibis.ifelse(trained, log.end, None)
        other_at: Column = ibis.ifelse(other, log.end, None)
        tested_at: Column = ibis.ifelse(tested, log.end, None)
        positions = log.mutate(
            start=log.end - history,
            trained=(log.end <= trained_at.max().over(by_sequence)).fill_null(False),
            first_other=other_at.min().over(by_sequence),
            first_tested=tested_at.min().over(by_sequence),
            target_of=ibis.ifelse((history > 0) & is_target, log.split, None),
        )
        is_target = may_be_target(positions)
        history_only: Column = positions.split.isnull() | ~is_target
        held_out = positions.split.isin(HELD_OUT) & is_target
        early = (positions.split == "train") & (positions.end > positions.first_other)
        early |= (positions.split == "valid") & (positions.end > positions.first_tested)
        sums = {
            "history_only": history_only.sum(),
            "no_history": (held_out & (positions.end == 0)).sum(),
            "unknown": (~positions.split.isin(SPLITS)).sum(),
            "early": positions.sequence.nunique(where=early.fill_null(False)),
        }
        found = {k: int(n or 0) for k, n in scalars(positions.aggregate(**sums)).items()}
        _refuse(found.pop("unknown"), found.pop("early"))
        return positions, found


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
