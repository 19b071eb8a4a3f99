"""The figures of a log and its split as text."""

from collections.abc import Mapping
from typing import Any

from recllm.catalog.split_names import SPLITS
from recllm.results.figures import leak_figures, log_figures
from recllm.results.formats import quantity, with_interval, words
from recllm.results.tables import flatten

#: Counts that stand elsewhere on the page already.
SHOWN_ABOVE = ("order_only", *SPLITS)
INDENT = 2
WIDTH = 36


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
        _part("log, as filtered", log_figures(log)),
        _part("lengths of the sequences", log["lengths"]),
        _part(f"split: {split.pop('name')}", split | _left(counts["split"])),
        _part("leaks", leak_figures(statistics)),
        _floors(statistics["floors"]),
    ]
    return "\n\n".join(part for part in parts if part)


def _left(counts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in counts.items() if name not in SHOWN_ABOVE}


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
            cells = "".join(f"{with_interval(found[metric]):<26}" for metric in metrics)
            lines.append(f"{'':{INDENT}}{split:<8}{baseline:<14}{cells}".rstrip())
    return "\n".join(lines)
