"""What is asked of a recommender, in item ids, and what it answers."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from recllm.catalog.items import Items
from recllm.errors import UserError

log = logging.getLogger(__name__)

#: Item ids for all histories, or for each history its own.
Selection = Collection[str] | Sequence[Collection[str]]
#: What becomes of ids that the catalogue lacks.
Unknown = Literal["refuse", "skip"]


class Recommendation(NamedTuple):
    """An item that was recommended.

    Attributes:
        score: the summed log-probability of the item's tokens.
    """

    item_id: str
    title: str
    score: float


@dataclass(frozen=True)
class Chosen:
    """A `Selection` in dense indices; one of the two is None, or both where none was given.

    Attributes:
        of_all: the items for all rows.
        of_rows: those of each row.
    """

    of_all: list[int] | None = None
    of_rows: list[list[int]] | None = None


@dataclass(frozen=True)
class Request:
    """A request in dense indices.

    Attributes:
        rows: which of the histories that were given hold an item that is known.
        histories: those.
        exclude, only: for them.
    """

    rows: list[int]
    histories: list[list[int]]
    exclude: Chosen
    only: Chosen

    def excluded(self, *, with_histories: bool) -> list[list[int]] | None:
        """The items that each row may not return, but for those excluded from all."""
        own = self.exclude.of_rows
        if not with_histories:
            return own
        if own is None:
            return self.histories
        return [[*history, *more] for history, more in zip(self.histories, own, strict=True)]

    def allowed(self) -> list[list[int]] | None:
        """The items that each row alone may return; one list where they are the same."""
        if self.only.of_all is not None:
            return [self.only.of_all] * len(self.rows)
        return self.only.of_rows


def read_request(
    items: Items,
    histories: Sequence[Sequence[str]],
    exclude: Selection | None,
    only: Selection | None,
    unknown: Unknown,
) -> Request:
    """Look up what was asked for; see `Recommender.recommend`.

    Raises:
        UserError: a list is of another form, or an id is not known and may not be skipped.
    """
    if unknown not in ("refuse", "skip"):
        raise UserError(f"unknown: expected refuse or skip, found {unknown!r}")
    reader = _Reader(items, skip=unknown == "skip")
    given = _lists("histories", histories)
    read = [reader.read(f"histories[{row}]", ids) for row, ids in enumerate(given)]
    rows = [row for row, history in enumerate(read) if history]
    if len(rows) < len(read) and not reader.skip:
        row = next(row for row, history in enumerate(read) if not history)
        raise UserError(
            f"histories[{row}] is empty; a recommendation needs at least one item: leave the row "
            "out, or give unknown='skip'"
        )
    asked = Request(
        rows,
        [read[row] for row in rows],
        _of_rows(reader.choose("exclude", exclude, len(read)), rows),
        _of_rows(reader.choose("only", only, len(read)), rows),
    )
    reader.report(empty=len(read) - len(rows))
    return asked


@dataclass
class _Reader:
    """Item ids to dense indices.

    Attributes:
        skip: whether ids that are not known are left out, and kept in `skipped`.
    """

    items: Items
    skip: bool
    skipped: list[str] = field(default_factory=list)

    def read(self, where: str, item_ids: Collection[str]) -> list[int]:
        """The indices of ids, in their order.

        Args:
            where: they stand, for messages.
        """
        wrong = [item_id for item_id in item_ids if not isinstance(item_id, str)]
        if wrong:
            raise UserError(
                f"{where}: expected item ids, which are texts, found {wrong[0]!r}; give "
                f"{str(wrong[0])!r}"
            )
        ids = list(item_ids)
        if self.skip:
            self.skipped += [item_id for item_id in ids if item_id not in self.items]
            ids = [item_id for item_id in ids if item_id in self.items]
        try:
            return self.items.index_of(ids)
        except UserError as error:
            raise UserError(
                f"{where}: {error} (unknown='skip' leaves such items out, and says so)"
            ) from None

    def choose(self, name: str, given: Selection | None, rows: int) -> Chosen:
        """The items for all rows, where `given` holds ids, or of each row, where it holds lists."""
        if given is None:
            return Chosen()
        _refuse_text(name, given, "a list of item ids")
        if all(isinstance(item_id, str) for item_id in given):
            return Chosen(of_all=self.read(name, given))  # type: ignore[arg-type]
        lists = _lists(name, given)  # type: ignore[arg-type]
        if len(lists) != rows:
            raise UserError(
                f"{name}: expected one list of item ids for all, or one for each of {rows} "
                f"histories, found {len(lists)} lists"
            )
        return Chosen(of_rows=[self.read(f"{name}[{row}]", ids) for row, ids in enumerate(lists)])

    def report(self, empty: int) -> None:
        """Say what was left out."""
        if self.skipped:
            log.warning(
                "recommend: left out %d item id(s) that are not in the catalogue of %d items, such "
                "as %r",
                len(self.skipped),
                len(self.items),
                self.skipped[0],
            )
        if empty:
            log.warning(
                "recommend: %d histories without a known item get no recommendations", empty
            )


def _of_rows(chosen: Chosen, rows: Sequence[int]) -> Chosen:
    if chosen.of_rows is None:
        return chosen
    return Chosen(of_rows=[chosen.of_rows[row] for row in rows])


def _lists(name: str, given: Sequence[Collection[str]]) -> list[Collection[str]]:
    """Lists of ids; a text in the place of one would be read letter by letter."""
    _refuse_text(name, given, "a list of lists of item ids")
    for row, ids in enumerate(given):
        if isinstance(ids, str) or not isinstance(ids, Collection):
            raise UserError(
                f"{name}[{row}]: expected a list of item ids, found {ids!r}; for one history give "
                "a list that holds it"
            )
    return list(given)


def _refuse_text(name: str, given: object, expected: str) -> None:
    if isinstance(given, str) or not isinstance(given, Collection):
        raise UserError(f"{name}: expected {expected}, found {given!r}")
