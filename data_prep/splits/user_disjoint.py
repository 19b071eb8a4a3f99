"""User-disjoint: some users are trained on, others validated on, others tested on."""

from typing import Literal

from pydantic import Field

from recllm.data_prep.splits._positions import may_be_target, refuse_ready_made
from recllm.data_prep.splits._shares import SharedOut
from recllm.data_prep.tables import Column, Connection, Table, materialise, scalars

#: Hexadecimal digits of a digest that decide.
DIGITS = 8


class UserDisjoint(SharedOut):
    """Whether a recommender serves users that it has never seen ("strong generalisation").

    A user's part is decided by the SHA-256 digest of the seed and the user id alone: the same on
    every engine, whatever other users there are; so the shares are met only about. Users of valid
    and test have no training interaction: all of them are cold.
    """

    split_seed: int = Field(default=0, ge=0, description="another one divides users otherwise")
    held_out_targets: Literal["all", "last"] = Field(
        default="all", description="of a user of valid or test"
    )

    def label(self, con: Connection, log: Table, owners: Table) -> tuple[Table, dict[str, int]]:
        """See `Split.label`.

        Counts `train_users`, `valid_users`, `test_users`, and among them `users_too_short`: those
        without a target that has a history.
        """
        import ibis

        refuse_ready_made(log)
        seeded = ibis.literal(f"{self.split_seed}:") + owners.user_id
        digest = seeded.hexdigest("sha256").substr(0, DIGITS)
        users = owners.select(
            "sequence",
            part=ibis.cases(
                (digest < _threshold(self.test_share), "test"),
                (digest < _threshold(self.test_share + self.valid_share), "valid"),
                else_="train",
            ),
        )
        placed = log.join(materialise(con, users), "sequence")
        trained, can_be_target = placed.part == "train", may_be_target(placed) & (placed.end > 0)
        target_at: Column = ibis.ifelse(can_be_target, placed.end, None)
        last = target_at.max().over(group_by=placed.sequence)
        chosen = can_be_target if self.held_out_targets == "all" else trained | (placed.end == last)
        positions = placed.mutate(
            start=0,
            trained=trained,
            target_of=ibis.ifelse(can_be_target & chosen, placed.part, None),
        )
        return positions, _counts(positions)


def _threshold(share: float) -> str:
    """The least digest whose user is not in the first `share` of all."""
    return f"{int(share * 16**DIGITS):0{DIGITS}x}"


def _counts(positions: Table) -> dict[str, int]:
    users = positions.group_by("sequence").aggregate(
        part=positions.part.max(), targets=positions.target_of.count()
    )
    sums = {f"{name}_users": (users.part == name).sum() for name in ("train", "valid", "test")}
    found = scalars(users.aggregate(**sums, users_too_short=(users.targets == 0).sum()))
    return {name: int(count or 0) for name, count in found.items()}
