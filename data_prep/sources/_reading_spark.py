"""Spark's reader of a user's file: what `_reading.load` gives, from many tasks at once.

A file is read in stretches, each by one task. Within a stretch the rows are in the file's order;
their number in the file is their place in the stretch, after all the rows of the stretches before.

CSV and JSON lines are read as lines and parsed line by line, so that a bad one is known with its
text. Only where quotes of a CSV file go on over a line end, and where a JSON file is one array,
one task reads all of it.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recllm.data_prep.engines.spark import PLACE, STRETCH, link, number_stretches, spark_of
from recllm.data_prep.tables import Connection, Table, scalars
from recllm.errors import UserError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Of a line that cannot be read this much is kept.
KEPT_CHARACTERS = 1000
_BAD = "recllm_bad"
_WHOLE = "recllm_whole"
_BLANK = "recllm_blank"
_LINE = "value"


def load_csv(
    con: Connection, path: Path, names: list[str], delimiter: str, columns: Mapping[str, str]
) -> Table:
    """The named columns of a CSV file as text, with `row`, `problem` and `raw`; see `load`.

    Args:
        names: all columns of the file.
    """
    with _readable(path):
        table = _csv_by_lines(con, path, names, delimiter, columns)
        if table is None:
            table = _csv_in_one(con, path, names, delimiter, columns)
        return table


def load_json(con: Connection, path: Path, columns: Mapping[str, str], array: bool) -> Table:
    """The same of a file of JSON objects, one a line, or all in one array."""
    import pyspark.sql.functions as F

    with _readable(path):
        schema = _text_schema(columns.values())
        options = _permissive()
        if array:
            reader = spark_of(con).read.schema(schema).options(**options, multiLine="true")
            rows = reader.json(str(link(con, path))).select("*", *_position())
            broken = F.when(F.col(_BAD).isNotNull(), "not JSON")
            raw = F.col(_BAD)
            fields = {own: _field(own) for own in columns.values()}
        else:
            lines = _lines(con, path)
            parsed = F.from_json(F.col(_LINE), schema, options).alias("parsed")
            rows = lines.select(STRETCH, _place(), _LINE, parsed)
            bad = F.col(f"parsed.{_BAD}").isNotNull() | F.col("parsed").isNull()
            other = F.try_parse_json(F.col(_LINE)).isNotNull()
            broken = _not_utf8().when(bad & other, "no JSON object").when(bad, "not JSON")
            raw = F.col(_LINE)
            fields = {own: F.col("parsed").getField(own) for own in columns.values()}
        texts = {new: fields[own] for new, own in columns.items()}
        blank = F.lit(False) if array else F.trim(_LINE) == ""
        checked = _checked(rows, texts, broken, raw, blank.alias(_BLANK))
        numbered = number_stretches(con, checked, "row")  # blank lines are counted, too
        return numbered.filter(~numbered[_BLANK]).drop(_BLANK)


def load_parquet(
    con: Connection, path: Path, columns: Mapping[str, str], numbers: Collection[str]
) -> Table:
    """The same of a Parquet file, whose rows are all sound."""
    import pyarrow.parquet as pq
    import pyspark.sql.functions as F

    with _readable(path):
        types = {field.name: field.type for field in pq.read_schema(path)}
        rows = spark_of(con).read.parquet(str(link(con, path))).select("*", *_position())
        values = {
            new: _field(own)
            if new in numbers and _is_number(types[own])
            else _as_text(_field(own), types[own])
            for new, own in columns.items()
        }
        nothing = F.lit(None).cast("string")
        return number_stretches(con, _checked(rows, values, nothing, nothing), "row")


def _csv_by_lines(
    con: Connection, path: Path, names: list[str], delimiter: str, columns: Mapping[str, str]
) -> Table | None:
    """As `load_csv`; None where a record may go on after the end of its line."""
    import pyspark.sql.functions as F

    lines = _lines(con, path).filter(~F.col("first") & (F.trim(_LINE) != ""))
    schema, numbers = _csv_schema(names)
    parsed = F.from_csv(F.col(_LINE), schema, _csv_options(delimiter)).alias("parsed")
    rows = lines.select(STRETCH, _place(), _LINE, parsed)
    broken = _not_utf8().when(
        F.col(f"parsed.{_BAD}").isNotNull() | F.col("parsed").isNull(), "wrong number of columns"
    )
    whole = ~F.contains(_LINE, F.lit('"')) | F.rlike(_LINE, F.lit(_whole_line(delimiter)))
    texts = {
        new: F.nullif(F.col(f"parsed.{numbers[own]}"), F.lit("")) for new, own in columns.items()
    }
    table = _checked(rows, texts, broken, F.col(_LINE), whole.alias(_WHOLE))
    numbered = number_stretches(con, table, "row")
    torn = scalars(numbered.aggregate(torn=(~numbered[_WHOLE]).any()))["torn"]
    return None if torn else numbered.drop(_WHOLE)


def _csv_in_one(
    con: Connection, path: Path, names: list[str], delimiter: str, columns: Mapping[str, str]
) -> Table:
    """As `load_csv`, record after record. Read as Latin-1, in which every byte is a character."""
    import pyspark.sql.functions as F

    schema, numbers = _csv_schema(names)
    options = _csv_options(delimiter) | {
        "multiLine": "true",
        "header": "true",
        "enforceSchema": "true",
        "encoding": "ISO-8859-1",
    }
    reader = spark_of(con).read.schema(schema).options(**options)
    rows = reader.csv(str(link(con, path))).select("*", *_position())
    texts = {new: _from_latin_1(F.col(numbers[own])) for new, own in columns.items()}
    sound = F.is_valid_utf8(_from_latin_1(F.concat_ws(" ", *numbers.values())))
    broken = F.when(F.col(_BAD).isNotNull(), "wrong number of columns").when(~sound, "not UTF-8")
    texts = {new: F.nullif(text, F.lit("")) for new, text in texts.items()}
    raw = _from_latin_1(F.coalesce(F.col(_BAD), F.concat_ws(delimiter, *numbers.values())))
    return number_stretches(con, _checked(rows, texts, broken, raw), "row")


def _lines(con: Connection, path: Path) -> "DataFrame":
    """A file's lines: STRETCH, `value`, and `first`, whether it is the file's first."""
    import pyspark.sql.functions as F

    lines = spark_of(con).read.text(str(link(con, path))).select(_LINE, *_position())
    # the first task reads the first stretch first: stretches are handed out by their size
    return lines.select(STRETCH, _LINE, (F.col(PLACE) == 0).alias("first"))


def _position() -> "list[Column]":
    """Where a row of a file stands: its stretch begins at a byte of the file."""
    import pyspark.sql.functions as F

    return [F.col("_metadata.file_block_start").alias(STRETCH), _place()]


def _place() -> "Column":
    import pyspark.sql.functions as F

    return F.monotonically_increasing_id().alias(PLACE)


def _checked(
    rows: "DataFrame",
    texts: "Mapping[str, Column]",
    broken: "Column",
    raw: "Column",
    *more: "Column",
) -> "DataFrame":
    """The columns asked for, null in a row with a problem, `problem` and `raw`, and more."""
    import pyspark.sql.functions as F

    marked = rows.withColumn("problem", broken)
    sound = F.col("problem").isNull()
    kept = [F.when(sound, text).alias(new) for new, text in texts.items()]
    start = F.make_valid_utf8(F.substring(raw, 1, KEPT_CHARACTERS))
    told = F.when(~sound, start).alias("raw")
    return marked.select(STRETCH, PLACE, *kept, "problem", told, *more)


def _not_utf8() -> Any:
    import pyspark.sql.functions as F

    return F.when(~F.is_valid_utf8(_LINE), "not UTF-8")


def _field(name: str) -> "Column":
    import pyspark.sql.functions as F

    return F.col("`" + name.replace("`", "``") + "`")


def _text_schema(names: Iterable[str]) -> Any:
    from pyspark.sql.types import StringType, StructField, StructType

    return StructType([StructField(name, StringType()) for name in dict.fromkeys((*names, _BAD))])


def _csv_schema(names: list[str]) -> tuple[str, dict[str, str]]:
    """A schema by place, as names may be anything, and each column's name in it."""
    numbers = {name: f"column_{place}" for place, name in enumerate(names)}
    return ", ".join(f"{name} STRING" for name in (*numbers.values(), _BAD)), numbers


def _permissive() -> dict[str, str]:
    return {"mode": "PERMISSIVE", "columnNameOfCorruptRecord": _BAD}


def _csv_options(delimiter: str) -> dict[str, str]:
    return _permissive() | {
        "sep": delimiter,
        "quote": '"',
        "escape": '"',
        "maxCharsPerColumn": "-1",
    }


def _whole_line(delimiter: str) -> str:
    """Whether every quote that opens in a line closes in it. Nothing is tried twice."""
    mark = re.escape(delimiter)
    field = rf'(?:"(?:[^"]|"")*+"|[^"{mark}][^{mark}]*+|)'
    return rf"^{field}(?:{mark}{field})*+\z"


def _from_latin_1(text: "Column") -> "Column":
    import pyspark.sql.functions as F

    return F.encode(text, "ISO-8859-1").cast("string")


def _is_number(type_: Any) -> bool:
    """Whether int64 or float64 holds all its values as they are."""
    import pyarrow as pa

    return pa.types.is_signed_integer(type_) or pa.types.is_float64(type_)


def _as_text(column: "Column", type_: Any) -> "Column":
    """A typed value as DuckDB tells it, as far as ids, times and ratings go."""
    import pyarrow as pa
    import pyspark.sql.functions as F

    if pa.types.is_timestamp(type_) and type_.unit == "ns":
        whole = column - F.pmod(column, F.lit(1000))
        column = F.timestamp_micros(F.round(whole / 1000).cast("long"))
    if pa.types.is_nested(type_):
        return F.to_json(column)
    if pa.types.is_floating(type_):  # Spark writes 12345678.0 as 1.2345678E7
        whole = (column == F.rint(column)) & (F.abs(column) < 1e15)
        return F.when(whole, F.concat(column.cast("long").cast("string"), F.lit(".0"))).otherwise(
            column.cast("string")
        )
    return column.cast("string")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what Spark raises into one line for the user."""
    import pyarrow as pa
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError, pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: the file cannot be read: {_first_cause(str(error))}") from None


def _first_cause(message: str) -> str:
    """What began it: a message of Spark's ends in the causes of the causes."""
    causes = re.findall(
        r"^Caused by: (?:[\w.$]+(?:Exception|Error): ?)?(.+)$", message, re.MULTILINE
    )
    lines = [*causes[-1:], *message.strip().splitlines(), "unknown"]
    return lines[0].strip()
