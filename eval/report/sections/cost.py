"""What the evaluation took: time and memory."""

from recllm.eval.report.content import Section, facts
from recllm.eval.report.inputs import ReportInputs


def build(inputs: ReportInputs) -> Section | None:
    """None where nothing was measured."""
    cost = inputs.metrics.get("cost") or {}
    return Section("cost", "Cost", tables=[facts(cost, ["", "evaluation"])]) if cost else None
