"""Where the model is good and where it is not: by history length, target popularity, cold items."""

from collections.abc import Mapping, Sequence
from typing import Any

from recllm.eval.report.conditions import conditions
from recllm.eval.report.content import Plot, Section
from recllm.eval.report.inputs import ReportInputs
from recllm.eval.report.plots import Series, interval_plot
from recllm.results.estimates import Estimate, display_name, read_estimates
from recllm.results.tables import Cell, Table, estimate_row

TITLES = {
    "history_length": "History length, in items",
    "target_popularity": "Target popularity, by thirds of the training traffic",
    "cold_target": "Cold targets: without training interactions",
}

Slices = Sequence[Mapping[str, Any]]


def build(inputs: ReportInputs) -> Section | None:
    """None where there are no slices."""
    metric = inputs.primary
    groups = {name: parts for name, parts in (inputs.metrics.get("slices") or {}).items() if parts}
    if metric is None or not groups:
        return None
    return Section(
        key="slices",
        title="Slices",
        note=f"{metric} · {conditions(inputs)}",
        plots=[plot for name, parts in groups.items() if (plot := _plot(name, parts, metric))],
        tables=[_table(name, parts, metric) for name, parts in groups.items()],
        wide=True,
        in_markdown=True,
    )


def title_of(group: str) -> str:
    """A group of slices in words."""
    return TITLES.get(group, group.replace("_", " ").capitalize())


def _recommenders(parts: Slices) -> list[str]:
    baselines = (name for part in parts for name in part.get("baselines") or {})
    return ["model", *dict.fromkeys(baselines)]


def _estimate(part: Mapping[str, Any], recommender: str, metric: str) -> Estimate | None:
    if recommender == "model":
        return read_estimates(part.get("model")).get(metric)
    return read_estimates((part.get("baselines") or {}).get(recommender)).get(metric)


def _plot(group: str, parts: Slices, metric: str) -> Plot | None:
    """None where fewer than two slices have rows: there is nothing to set side by side."""
    parts = [part for part in parts if part.get("n")]
    if len(parts) < 2:
        return None
    series = []
    for recommender in _recommenders(parts):
        found = [_estimate(part, recommender, metric) for part in parts]
        series.append(
            Series(
                display_name(recommender),
                list(range(len(parts))),
                [e.value if e else None for e in found],
                [e.low if e else None for e in found],
                [e.high if e else None for e in found],
            )
        )
    svg = interval_plot(f"slices {group}", [str(part["label"]) for part in parts], series, metric)
    return Plot(svg, title_of(group))


def _table(group: str, parts: Slices, metric: str) -> Table:
    recommenders = _recommenders(parts)
    rows = []
    for part in parts:
        label, *cells = estimate_row(
            str(part["label"]), [_estimate(part, name, metric) for name in recommenders]
        )
        rows.append([label, Cell(f"{part.get('n', 0):,}"), *cells])
    head = ["", "rows", *(display_name(name) for name in recommenders)]
    return Table(head, rows, f"{title_of(group)} ({metric})", folded=True)
