"""CSV and JSON lines as text columns in DuckDB, with the lines that cannot be read set apart.

Both go through DuckDB's CSV reader, which knows the line of whatever it cannot read; a file of
JSON lines is to it a table of one column. Raw SQL: Ibis does not reach the readers' options.
"""

import codecs
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from recllm.data_prep.sources._csv_files import Layout, find_records, opened
from recllm.data_prep.tables import Connection, Table, query, quoted
from recllm.errors import UserError

#: How much of a line is kept where it cannot be read, in characters.
RAW_LENGTH = 1000
#: JSON objects need not all have the same keys; those of the first ones count as the columns.
JSON_SAMPLE = 10_000
#: A delimiter that no JSON can hold: control characters are escaped there.
NO_DELIMITER = "\x01"

REASONS = {
    "MISSING COLUMNS": "wrong number of columns",
    "TOO MANY COLUMNS": "wrong number of columns",
    "UNQUOTED VALUE": "stray quotes",
    "INVALID ENCODING": "not UTF-8",
    "LINE SIZE OVER MAXIMUM": "line too long",
}

#: The text of a rejected record, and its lines, in DuckDB's table of rejects.
TEXT = "trim(any_value(csv_line), '\r\n')"
LINES = f"string_split({TEXT}, '\n')"

_scans = count()


def is_json_array(path: Path) -> bool:
    """Whether a JSON file is one array and not an object a line."""
    with opened(path) as file:
        return file.read(256).lstrip(codecs.BOM_UTF8 + b" \t\r\n").startswith(b"[")


def json_keys(con: Connection, path: Path) -> list[str]:
    """The keys of a file's first objects, sorted."""
    if is_json_array(path):
        keys = f"json_keys(json) AS k FROM {_json_array(path)}"
    else:
        keys = f"TRY(json_keys(line)) AS k FROM {_lines(path, 'ignore_errors=true')}"
    sample = f"SELECT unnest(k) AS k FROM (SELECT {keys} LIMIT {JSON_SAMPLE})"
    return [k for (k,) in con.raw_sql(f"SELECT DISTINCT k FROM ({sample}) ORDER BY k").fetchall()]


def read_delimited(
    con: Connection, path: Path, columns: Mapping[str, str], layout: Layout
) -> Table:
    """The columns (new name to the file's own) of a delimited file, as `load` gives them."""
    scan = _Scan.of(con, _delimited(path, layout), _renamed(columns))
    if scan.rejected and any(reason == "stray quotes" for (reason,) in scan.reasons()):
        _refuse_swallowed_lines(scan, path, layout)
    if scan.rejected and layout.quote:
        scan.count_records(path)
    return scan.table(columns, layout.first_line)


def read_json_lines(con: Connection, path: Path, columns: Mapping[str, str]) -> Table:
    """The columns (new name to key) of a file with a JSON object a line, as `load` gives them."""
    paths = ", ".join(_json_path(own) for own in columns.values())
    fields = [f"found[{n}] AS {identifier(new)}" for n, new in enumerate(columns, 1)]
    # Nearly all lines begin at once; the others are trimmed, which takes a copy.
    begins = "CASE WHEN line[1] = '{' THEN true ELSE starts_with(ltrim(line, ' \t'), '{') END"
    no_object = f"found IS NULL OR NOT {begins}"
    values = f"TRY(json_extract_string(line, [{paths}])) AS found"
    scan = _Scan.of(
        con,
        f"(SELECT line, {values} FROM {_lines(path, _Scan.OPTIONS)})",
        f"{', '.join(fields)}, {no_object} AS bad",
    )
    return scan.table(columns, 1, _lines(path, "ignore_errors=true"))


def read_json_array(con: Connection, path: Path, columns: Mapping[str, str]) -> Table:
    """As `read_json_lines`, of a file that is one array; it is read whole or not at all."""
    fields = ", ".join(
        f"json ->> {_json_path(own)} AS {identifier(new)}" for new, own in columns.items()
    )
    scan = _Scan.of(con, _json_array(path), fields)
    return scan.table(columns, 1)


def identifier(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


@dataclass(frozen=True)
class _Scan:
    """A file read once: the table of its rows, whose rowid is their place among those that were
    read, and DuckDB's table of the lines that were not (`rejected` is None where there are none).
    """

    con: Connection
    rows: str
    rejected: str | None

    #: Stands in the text of a scan for the options that name its table of rejects.
    OPTIONS = "/*rejects*/"

    @classmethod
    def of(cls, con: Connection, source: str, fields: str) -> "_Scan":
        name = f"scan_{next(_scans)}"
        options = (
            f"store_rejects=true, rejects_table={quoted(name + '_rejects')}, "
            f"rejects_scan={quoted(name + '_scans')}"
        )
        source_with_rejects = source.replace(cls.OPTIONS, options)
        con.raw_sql(f"CREATE TEMP TABLE {name} AS SELECT {fields} FROM {source_with_rejects}")
        stored = source_with_rejects != source
        rejected = f"{name}_rejects" if stored else None
        if rejected and not _number(con, f"SELECT count(*) FROM {rejected}"):
            rejected = None
        return cls(con, name, rejected)

    def reasons(self) -> list[tuple[str]]:
        sql = f"SELECT DISTINCT {_reason()} FROM {self.rejected}"
        return self.con.raw_sql(sql).fetchall()

    def count_records(self, path: Path) -> None:
        """Let the rejects of a CSV file say places of records; DuckDB counts blank lines too."""
        kept = f"SELECT count(*) FROM {self.rows}"
        rows = _number(self.con, f"SELECT ({kept}) + count(DISTINCT line) FROM {self.rejected}")
        records = find_records(path, rows)
        if records is not None and records.blanks:
            before = f"SELECT count(*) FROM unnest({records.blanks}) b(place) WHERE place < line"
            self.con.raw_sql(f"UPDATE {self.rejected} SET line = line - ({before})")

    def table(self, columns: Mapping[str, str], first_line: int, lines: str = "") -> Table:
        """The columns, `row`, `problem` and `raw`.

        Args:
            lines: where the table has `bad` rows, what reads their text as `line`.
        """
        names = ", ".join(identifier(name) for name in columns)
        if lines and not _number(self.con, f"SELECT count(*) FROM {self.rows} WHERE bad"):
            lines = ""
        if not self.rejected and not lines:
            nothing = "NULL::VARCHAR AS problem, NULL::VARCHAR AS raw"
            return query(self.con, f"SELECT {names}, rowid AS row, {nothing} FROM {self.rows}")
        placed = f"(SELECT *, rowid AS place, rowid AS row FROM {self.rows})"
        if self.rejected:
            placed = self._shifted(first_line)
        selected = f"SELECT {names}, row, NULL::VARCHAR AS problem, NULL::VARCHAR AS raw"
        if lines:
            unread = self._unread(lines)
            selected = (
                f"SELECT {names}, row, problem, raw FROM {placed} LEFT JOIN {unread} "
                "USING (place) WHERE NOT bad OR problem IS NOT NULL"
            )
        else:
            selected += f" FROM {placed}"
        if self.rejected:
            selected += f" UNION ALL BY NAME {self._faults(first_line)}"
        selected = f"SELECT {names}, row::BIGINT AS row, problem, raw FROM ({selected})"
        self.con.raw_sql(f"CREATE TEMP TABLE {self.rows}_placed AS {selected}")
        return self.con.table(f"{self.rows}_placed")

    def _shifted(self, first_line: int) -> str:
        """The rows at the places that they have when the rejected lines are counted too."""
        rejected = f"SELECT DISTINCT line - {first_line} AS row FROM {self.rejected}"
        numbered = f"SELECT row, row_number() OVER (ORDER BY row) AS n FROM ({rejected})"
        shifts = f"SELECT row - n + 1 AS since, max(n) AS shift FROM ({numbered}) GROUP BY since"
        return (
            f"(SELECT r.*, place + coalesce(shift, 0) AS row FROM (SELECT *, rowid AS place "
            f"FROM {self.rows}) r ASOF LEFT JOIN ({shifts}) s ON r.place >= s.since)"
        )

    def _unread(self, lines: str) -> str:
        """The text of bad rows, read a second time; blank lines are none."""
        bad = f"SELECT rowid FROM {self.rows} WHERE bad"
        return (
            "(SELECT place, if(json_valid(line), 'no JSON object', 'not JSON') AS problem, "
            f"left(line, {RAW_LENGTH}) AS raw FROM (SELECT row_number() OVER () - 1 AS place, "
            f"line FROM {lines}) WHERE place IN ({bad}) AND trim(line) != '')"
        )

    def _faults(self, first_line: int) -> str:
        """The rejected records. One that a stray quote joined of lines is taken apart again."""
        apart = f"CASE WHEN bool_or({_reason()} = 'stray quotes') THEN {LINES} ELSE [{TEXT}] END"
        return (
            f"SELECT line - {first_line} AS row, min({_reason()}) AS problem, "
            f"left(unnest({apart}), {RAW_LENGTH}) AS raw FROM {self.rejected} GROUP BY line"
        )


def _refuse_swallowed_lines(scan: _Scan, path: Path, layout: Layout) -> None:
    """A quote that is never closed may swallow lines of which DuckDB tells nothing.

    Raises:
        UserError: lines are neither in a row that was read nor in one that was rejected.
    """
    con = scan.con
    inside = " + ".join(_newlines(name) for name in layout.columns)
    whole = _Scan.of(con, _delimited(path, layout), f"{inside} AS newlines")
    read = _number(con, f"SELECT count(*) + coalesce(sum(newlines), 0) FROM {whole.rows}")
    parts = f"SELECT len({LINES}) AS lines FROM {scan.rejected} GROUP BY line"
    faults = _number(con, f"SELECT sum(lines) FROM ({parts})")
    texts = _lines(path, "ignore_errors=true")
    lines = _number(con, f"SELECT count(*) FROM {texts} WHERE line != ''")
    if lines - (layout.first_line - 1) > read + faults:
        first = _number(
            con, f"SELECT min(line) FROM {scan.rejected} WHERE {_reason()} = 'stray quotes'"
        )
        raise UserError(
            f"{path}: a quote opened in line {first} is never closed and takes in the lines "
            "after it; mend that line"
        )


def _newlines(name: str) -> str:
    column = identifier(name)
    return f"coalesce(length({column}) - length(replace({column}, '\n', '')), 0)"


def _reason() -> str:
    cases = " ".join(f"WHEN {quoted(k)} THEN {quoted(v)}" for k, v in REASONS.items())
    return f"CASE error_type::VARCHAR {cases} ELSE 'not readable' END"


def _number(con: Connection, sql: str) -> int:
    return int(con.raw_sql(sql).fetchall()[0][0])


def _delimited(path: Path, layout: Layout) -> str:
    types = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in layout.columns)
    quote = quoted(layout.quote)
    return (
        f"read_csv({quoted(path)}, auto_detect=false, header={str(layout.header).lower()}, "
        f"columns={{{types}}}, delim={quoted(layout.delimiter)}, quote={quote}, escape={quote}, "
        f"comment='', encoding={quoted(layout.encoding)}, {_Scan.OPTIONS})"
    )


def _lines(path: Path, options: str) -> str:
    return (
        f"read_csv({quoted(path)}, auto_detect=false, header=false, columns={{line: 'VARCHAR'}}, "
        f"delim='{NO_DELIMITER}', quote='', escape='', comment='', strict_mode=false, {options})"
    )


def _json_array(path: Path) -> str:
    return f"read_json_objects({quoted(path)}, format='array')"


def _json_path(key: str) -> str:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return quoted(f'$."{escaped}"')


def _renamed(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{identifier(own)} AS {identifier(new)}" for new, own in columns.items())
