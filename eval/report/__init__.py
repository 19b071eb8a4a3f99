"""The report of a run: one self-contained HTML page, and Markdown for pull requests."""

from recllm.eval.report.inputs import ReportInputs
from recllm.eval.report.writing import write_report

__all__ = ["ReportInputs", "write_report"]
