"""MiniOneRec's split: every (history, target) pair in the order of time, cut 8:1:1 by count."""

from typing import ClassVar, Literal

from recllm.data_prep.splits import Split
from recllm.data_prep.splits._positions import label_parts, may_be_target, refuse_ready_made
from recllm.data_prep.tables import Connection, Table, number, scalars
from recllm.errors import UserError

#: Where validation and test begin, as shares of the pairs.
CUTS = (0.8, 0.9)


class Minionerec(Split):
    """The split of MiniOneRec (Kong et al., 2025).

    Each interaction but a user's first is a target, its history all that the user did before. The
    pairs of all users are sorted by the target's time, ties by row; the first 80 % are trained
    on, the next 10 % validated on, the last tested on. So a history may hold interactions of an
    earlier part, users and items can be new after a cut, and interactions at the very time of a
    cut lie on both sides of it.
    """

    global_cut: ClassVar[Literal["time", "row"] | None] = "row"

    def label(self, con: Connection, log: Table, owners: Table) -> tuple[Table, dict[str, int]]:
        """See `Split.label`.

        Counts the times of the first target of each part, `valid_from` and `test_from`, too, and
        the interactions after the cuts that would be targets, but are the first of their user:
        `valid_without_history`, `test_without_history`.

        Raises:
            UserError: the log is split already, or no user has two interactions.
        """
        import ibis

        refuse_ready_made(log)
        del owners
        first = _first_targets(con, log)

        def before(name: str) -> Table:
            time, row = first[f"{name}_time"], first[f"{name}_row"]
            return (log.timestamp < time) | ((log.timestamp == time) & (log.row < row))

        part = ibis.cases((before("valid"), "train"), (before("test"), "valid"), else_="test")
        positions, counts = label_parts(log.mutate(part=part))
        cuts = {f"{name}_from": first[f"{name}_time"] for name in ("valid", "test")}
        return positions, counts | cuts


def _first_targets(con: Connection, placed: Table) -> dict[str, int]:
    """Time and row of the first target of validation and of test."""
    targets = placed.filter(may_be_target(placed) & (placed.end > 0)).select("timestamp", "row")
    count = scalars(targets.aggregate(n=targets.count()))["n"]
    if not count:
        raise UserError(
            "there is nothing to predict: no user has two interactions; use a larger log, or "
            "another data.k_core"
        )
    ordered = number(con, targets, "place", ["timestamp", "row"])
    found = {}
    for name, share in zip(("valid", "test"), CUTS, strict=True):
        chosen = ordered.place == int(share * count)
        found[f"{name}_time"] = ordered.timestamp.max(where=chosen)
        found[f"{name}_row"] = ordered.row.max(where=chosen)
    return scalars(ordered.aggregate(**found))
