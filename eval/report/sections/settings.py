"""The settings of the evaluation, all of them."""

from recllm.eval.report.content import Section
from recllm.eval.report.inputs import ReportInputs
from recllm.results.tables import facts


def build(inputs: ReportInputs) -> Section | None:
    """None where there are none."""
    settings = inputs.metrics.get("settings") or {}
    if not settings:
        return None
    table = facts(settings, ["", "value"])
    return Section("settings", "Settings of the evaluation", tables=[table])
