"""One cut in time for everybody: trained before it, validated on and tested after it."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from recllm.config.times import Moment, in_words, to_seconds
from recllm.data_prep.splits._positions import label_parts, refuse_ready_made
from recllm.data_prep.splits._shares import SHARES, SharedOut
from recllm.data_prep.tables import Connection, Table, number, scalars
from recllm.errors import UserError


class Temporal(SharedOut):
    """The global temporal split: what a recommender meets that is trained once, then used.

    Everything before `valid_from` is trained on, targets from there to before `test_from` are
    validated on, later ones tested on; an interaction at the very time of a cut lies after it,
    whoever's it is. Where no times are given, they are those after which the shares of the
    interactions lie (or more: equal times stay together). A history is everything that the user
    did before the target, also after the cut. Users and items can be new after it.
    """

    global_cut: ClassVar[Literal["time", "row"] | None] = "time"

    valid_from: Moment | None = Field(
        default=None, description="in place of shares: an ISO date (UTC), or seconds since 1970"
    )
    test_from: Moment | None = None

    @model_validator(mode="after")
    def _cuts_are_possible(self) -> "Temporal":
        given = (self.valid_from, self.test_from)
        if None in given and given != (None, None):
            raise ValueError("give both of 'valid_from' and 'test_from', or none")
        if self.valid_from is not None and self.test_from is not None:
            if to_seconds(self.valid_from) >= to_seconds(self.test_from):
                raise ValueError(
                    f"'valid_from' ({self.valid_from}) must be before 'test_from' "
                    f"({self.test_from})"
                )
            if any(getattr(self, n) != type(self).model_fields[n].default for n in SHARES):
                raise ValueError("give 'valid_from' and 'test_from', or shares, not both")
        return self

    def label(self, con: Connection, log: Table, owners: Table) -> tuple[Table, dict[str, int]]:
        """See `Split.label`.

        Counts the cuts `valid_from` and `test_from` (in the log's time) too, and the interactions
        that would be targets, but are the first of their user: `valid_without_history`,
        `test_without_history`.

        Raises:
            UserError: the log is split already, or a cut lies outside its time.
        """
        import ibis

        refuse_ready_made(log)
        del owners
        valid_from, test_from = self._cuts(con, log)
        part = ibis.cases(
            (log.timestamp < valid_from, "train"),
            (log.timestamp < test_from, "valid"),
            else_="test",
        )
        positions, counts = label_parts(log.mutate(part=part))
        return positions, counts | {"valid_from": valid_from, "test_from": test_from}

    def _cuts(self, con: Connection, log: Table) -> tuple[int, int]:
        whole = scalars(
            log.aggregate(n=log.count(), first=log.timestamp.min(), last=log.timestamp.max())
        )
        if self.valid_from is None or self.test_from is None:
            both = self.valid_share + self.test_share
            later = [_at_least(whole["n"], share) for share in (both, self.test_share)]
            valid_from, test_from = _times_of_last(con, log, whole["n"], later)
            return valid_from, test_from
        cuts = to_seconds(self.valid_from), to_seconds(self.test_from)
        for name, cut in zip(("valid_from", "test_from"), cuts, strict=True):
            if not whole["first"] < cut <= whole["last"]:
                raise UserError(
                    f"data.{name} is {getattr(self, name)}, but the log goes from "
                    f"{in_words(whole['first'])} to {in_words(whole['last'])}; choose a time "
                    "between"
                )
        return cuts


def _at_least(count: int, share: float) -> int:
    """How many of `count` interactions make up this share, at least one."""
    return min(count, max(1, round(count * share)))


def _times_of_last(con: Connection, log: Table, count: int, later: Sequence[int]) -> list[int]:
    """The times from which on at least so many of the `count` interactions happened."""
    times = number(con, log.select("timestamp"), "place", ["timestamp"])
    sums = {
        f"time_{n}": times.timestamp.max(where=times.place == count - least)
        for n, least in enumerate(later)
    }
    return list(scalars(times.aggregate(**sums)).values())
