"""What the log and its split are like, and what each data stage read, kept and dropped."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from recllm.eval.report.content import Plot, Section
from recllm.eval.report.inputs import ReportInputs
from recllm.eval.report.plots import Series, bar_plot, line_plot
from recllm.results.figures import leak_figures, log_figures
from recllm.results.formats import quantity, words
from recllm.results.tables import Cell, Table, flatten

MEANINGS = {
    "density": "share of all pairs of user and item that occur",
    "repeat_rate": "interactions whose item stands earlier in their sequence",
    "approximate_entropy per_sequence_m1": "nats; in each own sequence, the last item known",
    "approximate_entropy per_sequence_m2": "nats; in each own sequence, the last 2 items known",
    "approximate_entropy pooled_m1": "nats; of the next item in all sequences, the last one known",
    "approximate_entropy pooled_m2": "nats; of the next item in all sequences, the last 2 known",
    "popularity_gini": "inequality of the items' interactions: 0 even, 1 all on one item",
    "top_1_percent_share": "of the interactions, taken by the most popular 1 % of the items",
    "tied_interactions": "at the same time as another of their sequence",
    "duplicates": "equal to an earlier one in sequence, item and time",
    "valid_cold_share": "targets without a training interaction of their item",
    "test_cold_share": "targets without a training interaction of their item",
}
#: The figures that are seen at once.
KEY = (
    "users",
    "items",
    "interactions",
    "density",
    "length median",
    "repeat_rate",
    "approximate_entropy per_sequence_m2",
    "approximate_entropy pooled_m1",
    "popularity_gini",
    "first time",
    "last time",
    "time",
)
UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"))


def build(inputs: ReportInputs) -> Section | None:
    """None where there are neither statistics nor counts."""
    counts = _counts(inputs.data_counts)
    found = inputs.statistics
    if not found:
        return Section("data", "Data", tables=[counts], in_markdown=True) if counts else None
    figures = dict(flatten(log_figures(found["log"]) | {"length": found["log"]["lengths"]}))
    key = {name: figures.pop(name) for name in KEY if name in figures}
    split = dict(found["split"])
    name = split.pop("name")
    tables = [
        _figures(key, "the log, as filtered"),
        _figures(figures, "the log, as filtered", "More of the log"),
        _figures(split | leak_figures(found), f"split: {name}", "The split"),
        *([counts] if counts else []),
    ]
    return Section("data", "Data", "", _plots(found), tables, wide=True, in_markdown=True)


def _figures(values: Mapping[str, Any], head: str, folded: str = "") -> Table:
    rows = [
        [Cell(words(name), MEANINGS.get(name, "")), Cell(quantity(name, value))]
        for name, value in values.items()
    ]
    return Table(["", head], rows, folded, folded=bool(folded))


def _counts(stages: Mapping[str, Mapping[str, Any]]) -> Table | None:
    rows = [
        [Cell(words(stage)), Cell(words(name)), Cell(quantity(name, value))]
        for stage, counts in stages.items()
        for name, value in flatten(counts)
    ]
    if not rows:
        return None
    repeated = {index for index in range(1, len(rows)) if rows[index][0] == rows[index - 1][0]}
    rows = [[Cell(""), *row[1:]] if i in repeated else row for i, row in enumerate(rows)]
    caption = "What each stage read, kept and dropped"
    return Table(["stage", "", "count"], rows, caption, folded=True, labels=2)


def _plots(statistics: Mapping[str, Any]) -> list[Plot]:
    curves = statistics["curves"]
    plots = [
        _lengths(curves["sequences_by_length"], statistics["log"]["lengths"]["max"]),
        _popularity(curves["interactions_by_popularity"]),
        _time(curves.get("interactions_over_time", [])),
    ]
    return [plot for plot in plots if plot]


def _lengths(bars: list[list[float]], longest: float) -> Plot | None:
    if len(bars) < 2:  # all are equally long
        return None
    starts, counts = zip(*bars, strict=True)
    svg = bar_plot("lengths", starts, counts, "interactions of the sequence", "sequences")
    is_open = longest >= 2 * starts[-1] - starts[-2]
    rest = f"; the last bar holds all from {starts[-1]:,.0f} on" if is_open else ""
    return Plot(svg, f"Lengths of the sequences{rest}")


def _popularity(points: list[list[float]]) -> Plot:
    items, taken = ([100 * share for share in shares] for shares in zip(*points, strict=True))
    svg = line_plot(
        "popularity",
        [Series("this log", items, taken), Series("all items alike", items, items)],
        "items, most popular first (%)",
        "interactions (%)",
    )
    return Plot(svg, "Share of the interactions that the most popular items take")


def _time(bars: list[list[float]]) -> Plot | None:
    if len(bars) < 2:  # all at one time
        return None
    starts, counts = zip(*bars, strict=True)
    if not _are_dates(starts):
        svg = bar_plot("time", starts, counts, "time, as the log has it", "interactions")
        return Plot(svg, "Interactions over time")
    svg = bar_plot("time", starts, counts, "time (UTC)", "interactions", dates=True)
    return Plot(svg, f"Interactions over time, {_period(int(starts[1] - starts[0]))} a bar")


def _are_dates(times: Sequence[float]) -> bool:
    """Whether they can be seconds since 1970: milliseconds lie too far ahead."""
    try:
        return all(datetime.fromtimestamp(time, UTC) for time in times)
    except (ValueError, OverflowError, OSError):
        return False


def _period(seconds: int) -> str:
    size, unit = next((u for u in UNITS if seconds % u[0] == 0), (1, "second"))
    number = seconds // size
    return f"{number:,} {unit}s" if number > 1 else f"1 {unit}"
