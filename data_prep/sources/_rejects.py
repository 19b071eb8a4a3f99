"""Rows that cannot be read or understood: set aside, counted by reason, refused if too many."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recllm.data_prep.sources._line_numbers import LineNumbers
from recllm.data_prep.sources._reading import readable
from recllm.data_prep.tables import Column, Connection, Table, collect, materialise, write
from recllm.data_prep.values import as_text
from recllm.errors import UserError

log = logging.getLogger(__name__)


class Rejects:
    """The rows of a source's files that were set aside.

    Args:
        limit: the share of a file's rows that may be, from 0 to 1.
    """

    def __init__(self, limit: float = 0.0) -> None:
        self._limit = limit
        self._parts: list[Table] = []
        self._counts: dict[str, int] = {}

    def sift(
        self,
        con: Connection,
        path: Path,
        table: Table,
        problems: Mapping[str, tuple[str, Column]],
        tallies: Mapping[str, Column] | None = None,
    ) -> tuple[Table, dict[str, int]]:
        """The rows of a file that can be understood. One pass over the table, where all can.

        Args:
            table: from `load`.
            problems: reason to the file's own column and whether it is wrong in a row; of several
                reasons the first counts.
            tallies: conditions to be counted over the rows that are kept.

        Returns:
            The rows that are kept, and their tallies.

        Raises:
            UserError: more rows than the limit allows are not understood.
        """
        reason = _reason(table, problems)
        sums = {name: condition.sum() for name, condition in (tallies or {}).items()}
        found = _grouped(path, table, reason, sums)
        kept = next((group for group in found if group["reason"] is None), {})
        counts = {name: int(kept.get(name) or 0) for name in sums}
        faults = [group for group in found if group["reason"] is not None]
        if not faults:
            return table, counts
        rejected, total = (sum(group["rows"] for group in part) for part in (faults, found))
        numbers = LineNumbers.of(path, _rows(found))
        if rejected > self._limit * total:
            raise UserError(
                f"{path}: {_told(faults, problems, numbers)}: {rejected / total:.2g} of the rows, "
                f"more than data.max_reject_rate allows ({self._limit:g}); mend or remove them, "
                "or raise data.max_reject_rate to set them aside"
            )
        self._keep(con, path, table.mutate(reason=reason), numbers)
        for group in faults:
            name = "rejected_" + group["reason"].lower().replace(" ", "_").replace("-", "_")
            self._counts[name] = self._counts.get(name, 0) + group["rows"]
        return table.filter(reason.isnull()), counts

    def write(self, con: Connection, out: Path) -> dict[str, int]:
        """Write rejects.parquet into the folder `out`, where there are any; count them."""
        import ibis

        if self._parts:
            columns = ("file", "line", "reason", "content")
            rows = ibis.union(*(part.select(*columns) for part in self._parts))
            write(con, rows.order_by("file", "line"), out / "rejects.parquet")
            told = ", ".join(
                f"{n} × {k.removeprefix('rejected_')}" for k, n in self._counts.items()
            )
            log.warning("rows set aside in rejects.parquet: %s", told.replace("_", " "))
        return self._counts

    def _keep(self, con: Connection, path: Path, table: Table, numbers: LineNumbers) -> None:
        import ibis

        own = ("row", "problem", "raw", "reason")
        values = [
            f"{name}: " + as_text(table[name]).fill_null("")
            for name in table.columns
            if name not in own
        ]
        content: Column = values[0]
        for value in values[1:]:
            content = content + "; " + value
        rejected = table.filter(table.reason.notnull()).select(
            file=ibis.literal(path.name),
            row=table.row,
            reason=table.reason,
            content=table.raw.fill_null(content),
        )
        self._parts.append(_with_lines(con, materialise(con, rejected), numbers))


def refuse(path: Path, table: Table, problems: Mapping[str, Column]) -> None:
    """Raise where lines of a file cannot be read or values of a column cannot be understood.

    Args:
        table: from `load`.
        problems: the file's own column to whether it is wrong in a row.
    """
    reasons = {f"not understood: {own}": (own, bad) for own, bad in problems.items()}
    found = _grouped(path, table, _reason(table, reasons), {})
    faults = [group for group in found if group["reason"] is not None]
    if faults:
        numbers = LineNumbers.of(path, _rows(found))
        raise UserError(f"{path}: {_told(faults, reasons, numbers)}; mend or remove them")


def _with_lines(con: Connection, rejected: Table, numbers: LineNumbers) -> Table:
    """Rows of a file with their `line`, int64, in place of `row`."""
    import ibis

    if numbers.lines is None:
        return rejected.mutate(line=(rejected.row + numbers.first).cast("int64")).drop("row")
    rows = [found["row"] for found in collect(rejected.select("row").distinct())]
    lines = {"row": rows, "line": [numbers.number(row) for row in rows]}
    known = ibis.memtable(lines, schema={"row": "int64", "line": "int64"})
    return materialise(con, rejected.join(known, "row").drop("row"))


def _reason(table: Table, problems: Mapping[str, tuple[str, Column]]) -> Column:
    import ibis

    wrong = [(table.problem.notnull(), table.problem)]
    wrong += [(bad, ibis.literal(reason)) for reason, (_, bad) in problems.items()]
    return ibis.cases(*wrong)


def _grouped(
    path: Path, table: Table, reason: Column, sums: Mapping[str, Column]
) -> list[dict[str, Any]]:
    """For each reason, and for none: its rows, the first and last of them, and sums over them.

    Every column is read, so that a damaged file is found here.
    """
    read = {f"read {name}": table[name].count() for name in table.columns}
    groups = table.group_by(reason=reason).aggregate(
        rows=table.count(), first=table.row.min(), last=table.row.max(), **sums, **read
    )
    with readable(path):
        return collect(groups.order_by("first"))


def _rows(found: Sequence[Mapping[str, Any]]) -> int:
    """How many rows the file has; what was one to its reader may have been taken apart since."""
    return max(group["last"] for group in found) + 1


def _told(
    faults: Sequence[Mapping[str, Any]],
    problems: Mapping[str, tuple[str, Column]],
    numbers: LineNumbers,
) -> str:
    parts = []
    for fault in faults:
        reason = fault["reason"].partition(":")[0]
        where = f" (column {problems[fault['reason']][0]!r})" if fault["reason"] in problems else ""
        rows = "1 row" if fault["rows"] == 1 else f"{fault['rows']} rows"
        parts.append(f"{reason}{where} in {rows}, first in {numbers.told(fault['first'])}")
    return ", ".join(parts)
