"""Text to values: what is understood is written down here, for engines understand differently.

A column of numbers, as Parquet has them, is taken as it is.
"""

from recllm.data_prep.engines import Column
from recllm.data_prep.engines.choice import engine

#: A number as people and programs write it; infinity is one to a computer.
_NUMBER = r"(?i)^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|-?inf(inity)?)\s*\z"
_NAN = r"(?i)^\s*nan\s*\z"
_DATE = r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?"
_ZONE = r"(Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)"
_TIME = rf"^\s*{_DATE}([T ]{_CLOCK}\s?{_ZONE}?)?\s*\z"
_WHOLE = r"^\s*[+-]?[0-9]+\s*\z"
#: From here on engines write whole floats with an exponent, and differ in how.
_LONGEST_WHOLE = 1e15
_LARGEST_TIME = 2.0**62


def stripped(text: Column) -> Column:
    """Without white space (also tabs and line ends) around it."""
    return text.re_replace(r"^[ \t\r\n\f\x0b]+|[ \t\r\n\f\x0b]+\z", "")


def parse_float(text: Column) -> Column:
    """A number, float64; null where the text is none, and NaN is none."""
    if text.type().is_numeric():
        return without_nan(text).cast("float64")
    return _where(text, _NUMBER).try_cast("float64")


def without_nan(text: Column) -> Column:
    """The text, null where it is empty or says NaN: so programs write what is missing."""
    import ibis

    if text.type().is_numeric():
        return ibis.ifelse(text.isnan(), None, text) if text.type().is_floating() else text
    # Numbers have no such letter; a pattern costs more, and `&` would search all texts for it.
    lettered = text.contains("a") | text.contains("A")
    nan: Column = ibis.ifelse(lettered, text.re_search(_NAN), False)
    return ibis.ifelse(nan, None, text.nullif(""))


def parse_int(text: Column) -> Column:
    """A whole number, int64; null where the text is none, or none of 64 bits."""
    import ibis

    if text.type().is_integer():
        return text.cast("int64")
    if text.type().is_floating():
        return ibis.literal(None, type="int64")
    number = text.try_cast("int64")
    plain = number.cast("string") == text  # nearly all are, and need no regular expression
    return ibis.ifelse(plain, number, _where(text, _WHOLE).try_cast("int64"))


def parse_time(text: Column) -> Column:
    """Seconds since 1970, float64, of an ISO date or time, in UTC where it has no zone."""
    import ibis
    import ibis.expr.datatypes as dt

    if text.type().is_numeric():
        return ibis.literal(None, type="float64")
    time = _where(text, _TIME).try_cast(dt.Timestamp(timezone="UTC"))
    return engine(text.get_backend().name).microseconds(time).cast("float64") / 1e6


def parse_seconds(text: Column, dates: bool) -> Column:
    """Whole numbers as they are, other numbers cut, dates as seconds since 1970 UTC; else null."""
    import ibis

    if text.type().is_integer():
        return parse_int(text)
    number = parse_float(text)
    if dates:
        number = number.fill_null(parse_time(text))
    sane: Column = ibis.ifelse(number.abs() < _LARGEST_TIME, number, None)  # not infinite
    return parse_int(text).fill_null(sane.floor().cast("int64"))


def is_fractional(text: Column, seconds: Column) -> Column:
    """Whether the whole seconds of a time are less than what its text says."""
    import ibis

    cut = parse_float(text).fill_null(parse_time(text)) != seconds.cast("float64")
    # Not `&`, by which DuckDB would parse every text as a number and as a date.
    fractional: Column = ibis.ifelse(parse_int(text).notnull(), False, cut)
    return fractional.fill_null(False)


def as_text(value: Column) -> Column:
    """A number as text, 12.0 with its point; text as it is."""
    import ibis

    text = value.cast("string")
    if not value.type().is_floating():
        return text
    short: Column = ibis.ifelse(value.abs() < _LONGEST_WHOLE, value, None)
    whole: Column = short.round().cast("int64")
    # Spark would say 1.2345678E7
    return ibis.ifelse(short == whole, whole.cast("string") + ".0", text)


def is_json(text: Column, column: Column | None = None) -> Column:
    """Whether a text is JSON.

    Args:
        column: where the text is an element of an array, which knows no engine: the array.
    """
    return engine((text if column is None else column).get_backend().name).is_json(text)


def parse_list(text: Column, column: Column | None = None) -> Column:
    """A JSON array as strings; `column` as in `is_json`."""
    return engine((text if column is None else column).get_backend().name).parse_list(text)


def _where(text: Column, shape: str) -> Column:
    import ibis

    return ibis.ifelse(text.re_search(shape), text, None)
