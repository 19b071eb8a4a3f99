"""Text to values: what is understood is written down here, for engines understand differently."""

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


def stripped(text: Column) -> Column:
    """Without white space (also tabs and line ends) around it."""
    return text.re_replace(r"^[ \t\r\n\f\x0b]+|[ \t\r\n\f\x0b]+\z", "")


def parse_float(text: Column) -> Column:
    """A number, float64; null where the text is none, and NaN is none."""
    return _where(text, _NUMBER).try_cast("float64")


def without_nan(text: Column) -> Column:
    """The text, null where it says NaN: so programs write what is missing."""
    import ibis

    return ibis.ifelse(text.re_search(_NAN), None, text)


def parse_int(text: Column) -> Column:
    """A whole number, int64; null where the text is none, or none of 64 bits."""
    import ibis

    number = text.try_cast("int64")
    plain = number.cast("string") == text  # nearly all are, and need no regular expression
    return ibis.ifelse(plain, number, _where(text, _WHOLE).try_cast("int64"))


def parse_time(text: Column) -> Column:
    """Seconds since 1970, float64, of an ISO date or time, in UTC where it has no zone."""
    import ibis.expr.datatypes as dt

    time = _where(text, _TIME).try_cast(dt.Timestamp(timezone="UTC"))
    return engine(text.get_backend().name).microseconds(time).cast("float64") / 1e6


def is_json(text: Column) -> Column:
    """Whether a text is JSON."""
    return engine(text.get_backend().name).is_json(text)


def parse_list(text: Column) -> Column:
    """A JSON array as strings."""
    return engine(text.get_backend().name).parse_list(text)


def _where(text: Column, shape: str) -> Column:
    import ibis

    return ibis.ifelse(text.re_search(shape), text, None)
