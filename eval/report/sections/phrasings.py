"""Each metric over the phrasings of the question."""

from collections.abc import Mapping
from typing import Any

from recllm.eval.report.conditions import conditions
from recllm.eval.report.content import Section
from recllm.eval.report.inputs import ReportInputs
from recllm.results.estimates import sort_metrics
from recllm.results.formats import score
from recllm.results.tables import Cell, Table


def build(inputs: ReportInputs) -> Section | None:
    """None where one phrasing was asked alone."""
    found = inputs.phrasings
    if not found:
        return None
    rows = [[Cell(name), *_cells(found[name])] for name in sort_metrics(found)]
    count = len(next(iter(found.values()))["values"])
    table = Table(["", "mean", "min", "max", "the first"], rows, f"Over {count} phrasings")
    note = "all other figures are of the first phrasing · " + conditions(inputs)
    return Section("phrasings", "Phrasings of the question", note, tables=[table], in_markdown=True)


def _cells(spread: Mapping[str, Any]) -> list[Cell]:
    values = (spread["mean"], spread["min"], spread["max"], spread["values"][0])
    return [Cell(score(value)) for value in values]
