"""Leave-one-out: of each user the last interaction is tested on, the one before validated on."""

from recllm.data_prep.splits import Split
from recllm.data_prep.splits._positions import may_be_target, refuse_ready_made
from recllm.data_prep.tables import Column, Connection, Table, scalars


class LeaveOneOut(Split):
    """The protocol of SASRec and most papers after it (Kang and McAuley, 2018).

    A user with fewer than three interactions is trained on only. The history of a test row
    includes the validation item. Where only some behaviours are targets, the last two interactions
    of these are held out; what follows the last of them is in no history.
    """

    def label(self, con: Connection, log: Table, owners: Table) -> tuple[Table, dict[str, int]]:
        """See `Split.label`.

        Counts `users_too_short` (to hold out two targets with a history),
        `users_with_tied_last_times` (of their last two targets) and, where only some behaviours
        are targets, `after_test` (interactions after a user's test target).
        """
        import ibis

        refuse_ready_made(log)
        del con, owners
        all_are_targets = "is_target" not in log.columns
        placed = _find_last_two(log, all_are_targets)
        placed = placed.mutate(held_out=(placed.valid_end > 0).fill_null(False))
        train_end = ibis.ifelse(placed.held_out, placed.valid_end, placed.length)
        positions = placed.mutate(
            start=0,
            trained=placed.end < train_end,
            target_of=ibis.cases(
                ((placed.end == 0) | ~may_be_target(placed), None),
                (placed.end < train_end, "train"),
                (placed.end == placed.valid_end, "valid"),
                (placed.end == placed.test_end, "test"),
                else_=None,
            ),
        )
        return positions, _counts(placed, all_are_targets)


def _find_last_two(placed: Table, all_are_targets: bool) -> Table:
    """Each interaction with the places of its user's last two targets: `valid_end`, `test_end`."""
    import ibis

    if all_are_targets:
        return placed.mutate(valid_end=placed.length - 2, test_end=placed.length - 1)
    target_at: Column = ibis.ifelse(placed.is_target, placed.end, None)
    placed = placed.mutate(test_end=target_at.max().over(group_by=placed.sequence))
    earlier = placed.is_target & (placed.end < placed.test_end)
    earlier_at: Column = ibis.ifelse(earlier, placed.end, None)
    return placed.mutate(valid_end=earlier_at.max().over(group_by=placed.sequence))


def _counts(placed: Table, all_are_targets: bool) -> dict[str, int]:
    late = placed.filter(placed.end >= placed.length - 2) if all_are_targets else placed
    users = late.group_by("sequence").aggregate(
        held_out=late.held_out.any(),
        last=late.timestamp.max(where=late.end == late.test_end),
        before=late.timestamp.max(where=late.end == late.valid_end),
    )
    found = scalars(
        users.aggregate(
            users_too_short=(~users.held_out).sum(),
            users_with_tied_last_times=(users.last == users.before).sum(),
        )
    )
    if not all_are_targets:
        after = placed.held_out & (placed.end > placed.test_end)
        found |= scalars(placed.aggregate(after_test=after.sum()))
    return {name: int(count or 0) for name, count in found.items()}
