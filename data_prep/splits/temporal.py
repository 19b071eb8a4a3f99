"""One cut in time for everybody: trained before it, validated on and tested after it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from recllm.catalog.split_names import HELD_OUT
from recllm.data_prep.splits import Split
from recllm.data_prep.splits._positions import number_groups, refuse_ready_made, write_positions
from recllm.data_prep.tables import Connection, Table, number, scalars
from recllm.errors import UserError

SHARES = ("valid_share", "test_share")


class Temporal(Split):
    """The global temporal split: what a recommender meets that is trained once, then used.

    Everything before `valid_from` is trained on, targets from there to before `test_from` are
    validated on, later ones tested on; an interaction at the very time of a cut lies after it,
    whoever's it is. Where no times are given, they are those after which the shares of the
    interactions lie (or more: equal times stay together). A history is everything that the user
    did before the target, also after the cut. Users and items can be new after it.
    """

    global_cut: ClassVar[bool] = True

    valid_share: float = Field(default=0.1, gt=0, lt=1, description="of the interactions")
    test_share: float = Field(default=0.1, gt=0, lt=1, description="of the interactions, the last")
    valid_from: int | str | None = Field(
        default=None, description="in place of shares: an ISO date (UTC), or seconds since 1970"
    )
    test_from: int | str | None = None

    @field_validator("valid_from", "test_from", mode="before")
    @classmethod
    def _is_a_time(cls, value: Any) -> Any:
        """YAML reads an unquoted date as one."""
        value = value.isoformat() if isinstance(value, date) else value
        if isinstance(value, str):
            to_seconds(value)
        return value

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
        if self.valid_share + self.test_share >= 1:
            raise ValueError(
                f"'valid_share' and 'test_share' must leave something to train on, found "
                f"{self.valid_share:g} and {self.test_share:g}"
            )
        return self

    def divide(self, con: Connection, log: Table, out: Path) -> dict[str, int]:
        """See `Split.divide`.

        Counts the cuts `valid_from` and `test_from` (in the log's time) too, and the interactions
        that would be targets, but are the first of their user: `valid_without_history`,
        `test_without_history`.

        Raises:
            UserError: the log is split already, or a cut lies outside its time.
        """
        import ibis

        refuse_ready_made(log)
        valid_from, test_from = self._cuts(con, log)
        placed = number_groups(log, "user_id")
        placed = placed.mutate(
            part=ibis.cases(
                (placed.timestamp < valid_from, "train"),
                (placed.timestamp < test_from, "valid"),
                else_="test",
            ),
        )
        trained = (placed.part == "train").sum()
        positions = placed.mutate(
            start=0,
            train_end=trained.over(group_by=placed.sequence),
            target_of=ibis.ifelse(placed.end > 0, placed.part, None),
        )
        first = placed.end == 0
        sums = {
            f"{name}_without_history": (first & (placed.part == name)).sum() for name in HELD_OUT
        }
        found = {n: int(v or 0) for n, v in scalars(placed.aggregate(**sums)).items()}
        counts = write_positions(con, positions, out)
        return counts | found | {"valid_from": valid_from, "test_from": test_from}

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
                    f"{_in_words(whole['first'])} to {_in_words(whole['last'])}; choose a time "
                    "between"
                )
        return cuts


def to_seconds(time: int | str) -> int:
    """Seconds since 1970 of an ISO date or time, in UTC where it has no zone.

    Raises:
        ValueError: it is none.
    """
    if isinstance(time, int):
        return time
    try:
        found = datetime.fromisoformat(time)
    except ValueError:
        raise ValueError(
            f"expected an ISO date such as 2016-01-31, or seconds since 1970, found {time!r}"
        ) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


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


def _in_words(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d} ({seconds})"
    except (ValueError, OverflowError, OSError):  # not in seconds
        return str(seconds)
