"""Times in a recipe: an ISO date or time, or seconds since 1970."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator


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
        raise ValueError(_expected(time)) from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def in_words(seconds: int) -> str:
    """A time of the log as a date and in seconds; as a number alone where it is no date."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d} ({seconds})"
    except (ValueError, OverflowError, OSError):  # not in seconds
        return str(seconds)


def _checked(value: Any) -> Any:
    value = value.isoformat() if isinstance(value, date) else value  # YAML reads a date as one
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ValueError(_expected(value))
    to_seconds(value)
    return value


def _expected(found: Any) -> str:
    return f"expected an ISO date such as 2016-01-31, or seconds since 1970, found {found!r}"


#: A time in a recipe. It stays as it was written; `to_seconds` says which it is.
Moment = Annotated[int | str, BeforeValidator(_checked)]
