"""Item search: what somebody said to look for, and whether the item was found."""

from recllm.eval.report.content import Section
from recllm.eval.report.inputs import ReportInputs
from recllm.results.estimates import display_name
from recllm.results.formats import quantity, words
from recllm.results.tables import Cell, Table, estimate_cell, estimate_row


def build(inputs: ReportInputs) -> Section | None:
    """None where item search was not evaluated."""
    found = inputs.search
    if not found.metrics:
        return None
    left_out = found.metrics.get("left_out") or {}
    counts = {"intents": found.metrics["rows"], **left_out}
    note = " · ".join(f"{words(name)} {quantity(name, n)}" for name, n in counts.items())
    tables = [_compared(found)] if found.model else []
    return Section("search", "Item search", note, tables=tables, in_markdown=True)


def _compared(found: ReportInputs) -> Table:
    rows: list[list[Cell]] = []
    for name in found.headline:
        others = [estimates.get(name) for estimates in found.baselines.values()]
        differences = [
            estimate_cell(estimates.get(name), difference=True)
            for estimates in found.paired.values()
        ]
        rows.append([*estimate_row(name, [found.model[name], *others]), *differences])
    baselines = [display_name(name) for name in found.baselines]
    head = ["", display_name("model"), *baselines, *(f"model − {name}" for name in found.paired)]
    return Table(head, rows, "On the intents of held-out interactions, which were never trained")
