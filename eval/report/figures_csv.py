"""Every metric of the model and of the baselines as CSV, one row each, for other programs."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from recllm.results.estimates import read_estimates

COLUMNS = ("who", "metric", "group", "slice", "value", "low", "high", "rows")
#: The model where an item that shares the target's SID counts as the target.
BY_SID = "model_by_sid"


def to_csv(metrics: Mapping[str, Any]) -> str:
    """The figures of a metrics.json under `COLUMNS`, in full precision.

    `who` is `model`, `model_by_sid` or a baseline's name. `group` is `all` for all rows of the
    split, `search` for item search, else the name of a group of slices, of which `slice` is one's
    label. `low` and `high` are the limits of the 95% interval, and `rows` counts the rows.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows_of_splits(metrics))
    for group, slices in (metrics.get("slices") or {}).items():
        for part in slices:
            for who, entries in _by_name(part.get("model"), part.get("baselines")):
                writer.writerows(_rows(who, entries, group, part["label"]))
    return buffer.getvalue()


def _rows_of_splits(metrics: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Those of all rows of the split, and of item search."""
    for group, found in (("all", metrics), ("search", metrics.get("search") or {})):
        for who, entries in _by_name(found.get("metrics"), found.get("baselines")):
            yield from _rows(who, entries, group, "")
        yield from _rows(BY_SID, found.get("sid_metrics"), group, "")


def _by_name(model: Any, baselines: Any) -> list[tuple[str, Any]]:
    return [("model", model), *(baselines or {}).items()]


def _rows(who: str, entries: Any, group: str, label: str) -> Iterator[list[Any]]:
    """A row a metric; what has no finite value is left out, as on the page."""
    for metric, estimate in read_estimates(entries).items():
        yield [
            who,
            metric,
            group,
            label,
            estimate.value,
            estimate.low,
            estimate.high,
            entries[metric].get("n"),
        ]
