"""The figures of the stage `statistics` by their names for people, in groups."""

from collections.abc import Mapping
from typing import Any

from recllm.catalog.split_names import SPLITS
from recllm.results.formats import point_in_time


def log_figures(log: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the log on one level, with its times in words; without the lengths.

    Args:
        log: `log` of statistics.json.
    """
    left = {k: v for k, v in log.items() if k not in ("lengths", "order_only")}
    first, last = left.pop("first_time"), left.pop("last_time")
    if log["order_only"]:
        return left | {"time": "order only"}
    return left | {"first time": point_in_time(first), "last time": point_in_time(last)}


def leak_figures(statistics: Mapping[str, Any]) -> dict[str, int]:
    """The interactions with each kind of leak, or that there is none, and the targets that repeat.

    Args:
        statistics: the content of statistics.json.
    """
    found = {leak["fault"]: leak["count"] for leak in statistics["leaks"]} or {"leaks": 0}
    repeats = statistics["repeated_targets"]
    return found | {f"{name} targets that repeat": repeats[name] for name in SPLITS}
