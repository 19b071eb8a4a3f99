"""Training curves, how the checkpoint was chosen by them, and how fast the training went."""

from recllm.eval.report.content import Plot, Section, Table, facts
from recllm.eval.report.formats import score
from recllm.eval.report.inputs import ReportInputs, finite, sort_metrics
from recllm.eval.report.plots import Series, line_plot

_LOSSES = {"loss": "training loss", "eval_loss": "validation loss"}
_VALIDATION = ("ndcg@", "hit@", "mrr@", "auc")
_SPEED = (
    "samples_per_second",
    "tokens_per_second",
    "targets_per_second",
    "mfu",
    "peak_memory_bytes",
    "peak_gpu_memory_bytes",
)


def build(inputs: ReportInputs) -> Section | None:
    """None where no curve has two points, and nothing was timed."""
    losses = [_curve(inputs, key, label) for key, label in _LOSSES.items()]
    keys = dict.fromkeys(key for row in inputs.training for key in row if _is_validation(key))
    metrics = [_curve(inputs, key, key.removeprefix("eval_")) for key in sort_metrics(keys)]
    plots = [
        _plot("loss", losses, "Loss"),
        _plot("validation", metrics, _caption(metrics)),
    ]
    found, tables = [plot for plot in plots if plot], _speed(inputs)
    if not found and not tables:
        return None
    return Section("training", "Training", plots=found, tables=tables, wide=True)


def _speed(inputs: ReportInputs) -> list[Table]:
    """The figures of the whole training, from the last row that has them."""
    timed = [row for row in inputs.training if "samples_per_second" in row]
    if not timed:
        return []
    last = {name: timed[-1][name] for name in _SPEED if name in timed[-1]}
    caption = "Of all processes, without validation and checkpoints; targets are tokens with loss"
    return [facts(last, ["", "training"], caption)]


def _is_validation(key: str) -> bool:
    return key.startswith("eval_") and key.removeprefix("eval_").startswith(_VALIDATION)


def _curve(inputs: ReportInputs, key: str, label: str) -> Series:
    """The values of one key by step; a step that is logged twice counts as last logged."""
    points = {
        row["step"]: value
        for row in inputs.training
        if "step" in row and (value := finite(row.get(key))) is not None
    }
    steps = sorted(points)
    return Series(label, steps, [points[step] for step in steps])


def _plot(name: str, curves: list[Series], caption: str) -> Plot | None:
    curves = [curve for curve in curves if len(curve.x) > 1]
    if not curves:
        return None
    y_label = "validation metric" if name == "validation" else name
    return Plot(line_plot(f"training {name}", curves, "step", y_label), caption)


def _caption(metrics: list[Series]) -> str:
    """Says where ndcg@10, by which checkpoints are chosen, was best; else the first metric."""
    for curve in sorted(metrics, key=lambda curve: curve.label != "ndcg@10"):
        values = [value for value in curve.y if value is not None]
        if values:
            best = max(values)
            step = curve.x[curve.y.index(best)]
            return f"On validation rows; {curve.label} is best at step {step:,.0f} ({score(best)})"
    return ""
