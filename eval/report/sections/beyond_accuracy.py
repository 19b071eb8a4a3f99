"""What hit rates do not show: how much of the catalogue is recommended, and to whom what."""

from recllm.eval.report.conditions import conditions
from recllm.eval.report.content import Cell, Section, Table
from recllm.eval.report.formats import quantity, words
from recllm.eval.report.inputs import ReportInputs, cutoff

MEANINGS = {
    "coverage": "share of the catalogue that is recommended to anyone",
    "gini": "inequality of how often items are recommended: 0 even, 1 all on one item",
    "novelty": "mean surprise of the recommended items, in bits",
    "diversity": "share of pairs in a list from different SID clusters",
    "popularity_recommended": "mean training interactions of what is recommended",
    "popularity_targets": "mean training interactions of the targets",
    "popularity_bias": "popularity of what is recommended over that of the targets: 1 where alike",
    "invalid_rate": "share of recommendations that are no items of the catalogue",
}


def build(inputs: ReportInputs) -> Section | None:
    """None where nothing of it was measured."""
    values = dict(inputs.metrics.get("beyond_accuracy") or {})
    if "invalid_rate" in inputs.metrics:
        values["invalid_rate"] = inputs.metrics["invalid_rate"]
    if not values:
        return None
    rows = [
        [Cell(words(name), MEANINGS.get(name, "")), Cell(quantity(name, value))]
        for name, value in values.items()
    ]
    table = Table(["", "this model"], rows)
    return Section("beyond-accuracy", "Beyond accuracy", note=_note(inputs), tables=[table])


def _note(inputs: ReportInputs) -> str:
    """The depth is that of the headline metrics."""
    depth = cutoff(inputs.primary or "")
    first = [f"first {depth} recommendations"] if depth else []
    return " · ".join([*first, conditions(inputs)])
