"""Figures and names as people read them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from recllm.results.estimates import Estimate

MISSING = "–"
_PERCENT = ("rate", "share", "coverage", "utilisation", "resolution_cost", "traffic", "mfu")
_TIMES = ((3600, "h"), (60, "min"))


def score(value: float) -> str:
    """A metric with four decimals, as the literature gives them."""
    return f"{value:.4f}".replace("-", "−")


def signed(value: float) -> str:
    """A difference with its sign."""
    return f"{value:+.4f}".replace("-", "−")


def interval(estimate: Estimate) -> str:
    """[low, high]; empty where there is no interval."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{score(estimate.low)}, {score(estimate.high)}]"


def with_interval(entry: Mapping[str, Any] | None) -> str:
    """value [low, high] of an entry of metrics.json; empty where there is none."""
    if entry is None:
        return ""
    low, high = entry["ci95"]
    return f"{score(entry['value'])} [{score(low)}, {score(high)}]"


def beside_base(perplexity: Mapping[str, Any] | None) -> str:
    """A checkpoint's perplexity of a text and that of its base; empty where it was not measured."""
    if perplexity is None:
        return ""
    found = f"{perplexity['checkpoint']['perplexity']:.2f}"
    base = perplexity.get("base", {}).get("perplexity")
    return found if base is None else f"{found} (base {base:.2f})"


def words(name: str) -> str:
    """A key such as peak_memory_bytes as words; its unit stands with the figure."""
    text = name.replace("_", " ").strip()
    return "time" if text == "seconds" else text.removesuffix(" bytes").removesuffix(" seconds")


def quantity(name: str, value: Any) -> str:
    """A figure in the unit that its name ends with (seconds, bytes, a rate), else as it is.

    What ends with `_from` is a point in time, in seconds since 1970.
    """
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(quantity(name, element) for element in value)
    return _measure(name, value) if isinstance(value, int | float) else str(value)


def _measure(name: str, value: float) -> str:
    if name.endswith("seconds"):
        return _duration(value)
    if name.endswith("bytes"):
        return f"{value / 2**20:,.0f} MiB" if value < 2**30 else f"{value / 2**30:,.1f} GiB"
    if name.endswith("_from"):
        return point_in_time(int(value))
    return f"{100 * value:.4g} %" if name.endswith(_PERCENT) else number(value)


def number(value: float) -> str:
    """Integers with separators, others with four significant digits."""
    whole = isinstance(value, int) or abs(value) >= 1000
    return (f"{value:,.0f}" if whole else f"{value:.4g}").replace("-", "−")


def point_in_time(seconds: int) -> str:
    """A date and time in UTC; the number as it is where it is none."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return number(seconds)


def _duration(seconds: float) -> str:
    for size, unit in _TIMES:
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} s"


def outside_catalogue(rows: int) -> str:
    """Rows that nothing can rank, in words."""
    return f"{rows:,} of them misses: the target is not in the catalogue"
