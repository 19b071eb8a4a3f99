"""The sections of the page, one file each: `build(inputs)` gives a Section, or None to leave out.

A new section is a new file here and its name in `ORDER`. They are imported when a report is
written, not before: matplotlib takes its time.
"""

import importlib

from recllm.eval.report.content import Section
from recllm.eval.report.inputs import ReportInputs

ORDER = (
    "headline",
    "candidates",
    "phrasings",
    "search",
    "slices",
    "examples",
    "training",
    "reinforcement",
    "beyond_accuracy",
    "perplexity",
    "data",
    "sids",
    "cost",
    "settings",
    "recipe",
)


def build_sections(inputs: ReportInputs) -> list[Section]:
    """All sections that the inputs have something for, in the order of the page."""
    modules = [importlib.import_module(f"{__name__}.{name}") for name in ORDER]
    sections = [module.build(inputs) for module in modules]
    return [section for section in sections if section is not None]
