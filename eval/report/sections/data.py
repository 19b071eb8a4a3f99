"""What each data stage read, kept and dropped."""

from recllm.eval.report.content import Cell, Section, Table, flatten
from recllm.eval.report.formats import quantity, words
from recllm.eval.report.inputs import ReportInputs


def build(inputs: ReportInputs) -> Section | None:
    """None where no stage has counts."""
    rows = [
        [Cell(words(stage)), Cell(words(name)), Cell(quantity(name, value))]
        for stage, counts in inputs.data_counts.items()
        for name, value in flatten(counts)
    ]
    if not rows:
        return None
    repeated = {index for index in range(1, len(rows)) if rows[index][0] == rows[index - 1][0]}
    rows = [[Cell(""), *row[1:]] if i in repeated else row for i, row in enumerate(rows)]
    return Section("data", "Data", tables=[Table(["stage", "", "count"], rows, labels=2)])
