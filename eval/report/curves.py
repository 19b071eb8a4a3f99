"""Curves of a training's log: a key over the steps, and the validation metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

from recllm.eval.report.content import Plot
from recllm.eval.report.plots import Series, line_plot
from recllm.results.estimates import finite, sort_metrics
from recllm.results.formats import score

_VALIDATION = ("ndcg@", "hit@", "mrr@", "auc")

Log = Sequence[Mapping[str, Any]]


def curve(log: Log, key: str, label: str) -> Series:
    """The values of one key by step; a step that is logged twice counts as last logged."""
    points = {
        row["step"]: value
        for row in log
        if "step" in row and (value := finite(row.get(key))) is not None
    }
    steps = sorted(points)
    return Series(label, steps, [points[step] for step in steps])


def curves_plot(name: str, curves: list[Series], y_label: str, caption: str) -> Plot | None:
    """The curves that have two points in one plot; None where none has."""
    curves = [curve for curve in curves if len(curve.x) > 1]
    return Plot(line_plot(name, curves, "step", y_label), caption) if curves else None


def validation_plot(name: str, log: Log) -> Plot | None:
    """All validation metrics of a log."""
    keys = dict.fromkeys(key for row in log for key in row if _is_validation(key))
    metrics = [curve(log, key, key.removeprefix("eval_")) for key in sort_metrics(keys)]
    return curves_plot(name, metrics, "validation metric", _caption(metrics))


def _is_validation(key: str) -> bool:
    return key.startswith("eval_") and key.removeprefix("eval_").startswith(_VALIDATION)


def _caption(metrics: list[Series]) -> str:
    """Says where ndcg@10, by which checkpoints are chosen, was best; else the first metric."""
    for metric in sorted(metrics, key=lambda curve: curve.label != "ndcg@10"):
        values = [value for value in metric.y if value is not None]
        if values:
            best = max(values)
            step = metric.x[metric.y.index(best)]
            return f"On validation rows; {metric.label} is best at step {step:,.0f} ({score(best)})"
    return ""
