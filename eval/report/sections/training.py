"""Training curves, how the checkpoint was chosen by them, and how fast the training went."""

from recllm.eval.report.content import Section
from recllm.eval.report.curves import curve, curves_plot, validation_plot
from recllm.eval.report.inputs import ReportInputs
from recllm.results.tables import Table, facts

_LOSSES = {"loss": "training loss", "eval_loss": "validation loss"}
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
    losses = [curve(inputs.training, key, label) for key, label in _LOSSES.items()]
    plots = [
        curves_plot("training loss", losses, "loss", "Loss"),
        validation_plot("training validation", inputs.training),
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
