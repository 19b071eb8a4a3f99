"""The model beside its baselines: a table, hit@k over k, and the paired differences."""

from recllm.eval.report.conditions import conditions
from recllm.eval.report.content import Plot, Section
from recllm.eval.report.inputs import ReportInputs
from recllm.eval.report.plots import Series, interval_plot, line_plot
from recllm.results.estimates import Estimate, cutoff, display_name, finite, sort_metrics
from recllm.results.tables import Cell, Table, best_of, estimate_cell, estimate_row

#: The model where an item that shares the target's SID counts as the target.
BY_SID = "this model, by SID"


def build(inputs: ReportInputs) -> Section | None:
    """None where the model has no metric."""
    metric = inputs.primary
    if metric is None:
        return None
    plots = [_hit_curve(inputs), _differences(inputs, metric)]
    return Section(
        key="headline",
        title="Against the baselines",
        note=conditions(inputs),
        plots=[plot for plot in plots if plot],
        tables=[_headline(inputs, metric), *_all_metrics(inputs)],
        wide=True,
        in_markdown=True,
    )


def _headline(inputs: ReportInputs, metric: str) -> Table:
    recommenders = {"model": inputs.model} | inputs.baselines
    best = {
        name: best_of([found.get(name) for found in recommenders.values()])
        for name in inputs.headline
    }
    paired = inputs.paired
    rows: list[list[Cell]] = []
    for recommender, found in recommenders.items():
        row = [Cell(display_name(recommender))]
        for name in inputs.headline:
            estimate = found.get(name)
            row.append(estimate_cell(estimate, bool(estimate) and estimate.value == best[name]))
        if paired:
            difference = paired.get(recommender, {}).get(metric)
            row.append(estimate_cell(difference, difference=True))
        rows.append(row)
        if recommender == "model" and inputs.sid_level:
            sid_level = [estimate_cell(inputs.sid_level.get(name)) for name in inputs.headline]
            blank = [estimate_cell(None)] if paired else []
            rows.append([Cell(BY_SID), *sid_level, *blank])
    head = ["", *inputs.headline, *([f"model − baseline, {metric}"] if paired else [])]
    caption = "95% intervals by bootstrap over users; differences are paired by row"
    return Table(head, rows, caption)


def _all_metrics(inputs: ReportInputs) -> list[Table]:
    names = sort_metrics(inputs.model)
    if len(names) <= len(inputs.headline):
        return []
    baselines, sid_level = inputs.baselines, inputs.sid_level
    rows: list[list[Cell]] = []
    for name in names:
        compared = [inputs.model[name], *(found.get(name) for found in baselines.values())]
        label, model, *others = estimate_row(name, compared)
        by_sid = [estimate_cell(sid_level.get(name))] if sid_level else []
        rows.append([label, model, *by_sid, *others])
    head = ["", display_name("model"), *([BY_SID] if sid_level else [])]
    head += [display_name(name) for name in baselines]
    return [Table(head, rows, "All metrics", folded=True)]


def _hit_curve(inputs: ReportInputs) -> Plot | None:
    curves = _given_curves(inputs) or _curves(inputs)
    ticks = sorted({int(k) for curve in curves for k in curve.x})
    if len(ticks) < 2:
        return None
    shown = [k for k in (1, 2, 5, 10, 20, 50, 100) if k in ticks] if len(ticks) > 8 else ticks
    svg = line_plot("hit curve", curves, "k (log scale)", "hit@k", at=shown)
    bands = "; bands are 95% intervals" if any(curve.intervals() for curve in curves) else ""
    return Plot(svg, f"hit@k over the cutoff k{bands}")


def _given_curves(inputs: ReportInputs) -> list[Series]:
    return [
        Series(display_name(name), [float(k) for k in curve], [finite(v) for v in curve.values()])
        for name, curve in inputs.hit_curve.items()
        if curve
    ]


def _curves(inputs: ReportInputs) -> list[Series]:
    curves = []
    for name, found in ({"model": inputs.model} | inputs.baselines).items():
        points = [(cutoff(m), found[m]) for m in sort_metrics(found) if m.startswith("hit@")]
        if points:
            curves.append(_with_intervals(display_name(name), dict(points)))
    return curves


def _with_intervals(label: str, points: dict[int, Estimate]) -> Series:
    estimates = list(points.values())
    return Series(
        label,
        list(points),
        [e.value for e in estimates],
        [e.low for e in estimates],
        [e.high for e in estimates],
    )


def _differences(inputs: ReportInputs, metric: str) -> Plot | None:
    found = {name: entry[metric] for name, entry in inputs.paired.items() if metric in entry}
    if not found:
        return None
    points = _with_intervals("", dict(enumerate(found.values())))
    names = [display_name(name) for name in found]
    svg = interval_plot("differences", names, [points], f"model − baseline, {metric}", zero=True)
    return Plot(svg, "Paired differences; right of 0 the model is better")
