"""The recipe that gives this run again."""

from recllm.eval.report.content import Section
from recllm.eval.report.inputs import ReportInputs


def build(inputs: ReportInputs) -> Section | None:
    """None where there is no recipe."""
    if not inputs.recipe_yaml.strip():
        return None
    return Section("recipe", "Recipe", code=inputs.recipe_yaml.strip("\n"))
