"""The figures of a log and its split as text."""

from collections.abc import Mapping
from typing import Any

from recllm.catalog.split_names import SPLITS
from recllm.eval.report.content import flatten
from recllm.eval.report.formats import point_in_time, quantity, words

#: Counts that stand elsewhere on the page already.
SHOWN_ABOVE = ("order_only", *SPLITS)
INDENT = 2
WIDTH = 34


def statistics_table(statistics: Mapping[str, Any]) -> str:
    """Everything that `recllm data stats` gathered, for people.

    Args:
        statistics: from `recllm.cli.commands.data.gather`.
    """
    log, counts = statistics["log"], statistics["counts"]
    split = dict(statistics["split"])
    parts = [
        _part("ingest: read and rejected", _left(counts["ingest"])),
        _part("filter: dropped and kept", _left(counts["filter"])),
        _part("log, as filtered", _log(log)),
        _part("lengths of the sequences", log["lengths"]),
        _part(f"split: {split.pop('name')}", split | _left(counts["split"])),
        _part("leaks", _leaks(statistics)),
        _floors(statistics["floors"]),
    ]
    return "\n\n".join(part for part in parts if part)


def _log(log: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the log on one level, with its times in words."""
    left = {k: v for k, v in log.items() if k not in ("lengths", "order_only")}
    first, last = left.pop("first_time"), left.pop("last_time")
    if log["order_only"]:
        return left | {"time": "order only"}
    return left | {"first time": point_in_time(first), "last time": point_in_time(last)}


def _left(counts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in counts.items() if name not in SHOWN_ABOVE}


def _leaks(statistics: Mapping[str, Any]) -> dict[str, Any]:
    found = {leak["fault"]: leak["count"] for leak in statistics["leaks"]} or {"leaks": 0}
    repeats = statistics["repeated_targets"]
    return found | {f"{name} targets that repeat": count for name, count in repeats.items()}


def _part(title: str, values: Mapping[str, Any]) -> str:
    lines = [
        f"{'':{INDENT}}{words(name):<{WIDTH}} {quantity(name, value):>16}"
        for name, value in flatten(values)
    ]
    return "\n".join([title, *lines]) if lines else ""


def _floors(floors: Mapping[str, Any]) -> str:
    """A line for each split and baseline, a column for each metric."""
    metrics = list(next(iter(next(iter(floors.values())).values())))
    head = f"{'floors, 95% interval':<{INDENT + 22}}" + "".join(f"{m:<26}" for m in metrics)
    lines = [head.rstrip()]
    for split, baselines in floors.items():
        for baseline, found in baselines.items():
            cells = "".join(f"{_cell(found[metric]):<26}" for metric in metrics)
            lines.append(f"{'':{INDENT}}{split:<8}{baseline:<14}{cells}".rstrip())
    return "\n".join(lines)


def _cell(estimate: Mapping[str, Any]) -> str:
    low, high = estimate["ci95"]
    return f"{estimate['value']:.4f} [{low:.4f}, {high:.4f}]"
