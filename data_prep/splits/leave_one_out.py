"""Leave-one-out: of each user the last interaction is tested on, the one before validated on."""

from pathlib import Path

from recllm.data_prep.splits import Split
from recllm.data_prep.splits._positions import number_groups, refuse_ready_made, write_positions
from recllm.data_prep.tables import Connection, Table, scalars


class LeaveOneOut(Split):
    """The protocol of SASRec and most papers after it (Kang and McAuley, 2018).

    A user with fewer than three interactions is trained on only. The history of a test row
    includes the validation item.
    """

    def divide(self, con: Connection, log: Table, out: Path) -> dict[str, int]:
        """See `Split.divide`; counts `users_too_short` and `users_with_tied_last_times` too."""
        import ibis

        refuse_ready_made(log)
        placed = number_groups(log, "user_id")
        held_out = placed.length >= 3
        positions = placed.mutate(
            start=0,
            train_end=ibis.ifelse(held_out, placed.length - 2, placed.length),
            target_of=ibis.cases(
                (placed.end == 0, None),
                (held_out & (placed.end == placed.length - 1), "test"),
                (held_out & (placed.end == placed.length - 2), "valid"),
                else_="train",
            ),
        )
        counts = write_positions(con, positions, out)
        late = placed.filter(placed.end >= placed.length - 2)
        users = late.group_by("sequence").aggregate(
            length=late.length.max(),
            last=late.timestamp.max(where=late.end == late.length - 1),
            before=late.timestamp.max(where=late.end == late.length - 2),
        )
        sums = {
            "users_too_short": (users.length < 3).sum(),
            "users_with_tied_last_times": (users.last == users.before).sum(),
        }
        found = scalars(users.aggregate(**sums))
        return counts | {name: int(number or 0) for name, number in found.items()}
