"""A few users: what they took, what came next, and what the model would have shown."""

from recllm.eval.report.conditions import conditions
from recllm.eval.report.content import Section
from recllm.eval.report.inputs import ReportInputs


def build(inputs: ReportInputs) -> Section | None:
    """None where there are no examples."""
    if not inputs.examples:
        return None
    return Section(
        key="examples",
        title="Examples",
        note=conditions(inputs),
        examples=inputs.examples,
        wide=True,
        in_markdown=True,
    )
