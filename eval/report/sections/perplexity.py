"""What the model has kept of general language: its perplexity on a text, beside its base's."""

from collections.abc import Mapping
from typing import Any

from recllm.eval.report.content import Section
from recllm.eval.report.inputs import ReportInputs
from recllm.results.estimates import display_name
from recllm.results.formats import MISSING, number
from recllm.results.tables import Cell, Table

#: What the figures are normalised over, and where they stand.
VOCABULARIES = {
    "the whole vocabulary": lambda found: found,
    "without SID tokens": lambda found: found.get("without_sids") or {},
}
MEASURES = {
    "perplexity": "lower is better; comparable where the tokenizer is the same",
    "bits_per_byte": "lower is better; comparable between tokenizers",
}


def build(inputs: ReportInputs) -> Section | None:
    """None where no text was scored."""
    measured = inputs.metrics.get("perplexity") or {}
    if not measured:
        return None
    checkpoint, base = measured["checkpoint"], measured.get("base") or {}
    compared = "perplexity" in base
    rows: list[list[Cell]] = []
    for measure, meaning in MEASURES.items():
        for vocabulary, of in VOCABULARIES.items():
            name = f"{measure.replace('_', ' ')}, {vocabulary}"
            model, other = (of(found).get(measure) for found in (checkpoint, base))
            beside = [_cell(other), _growth(model, other)] if compared else []
            rows.append([Cell(name, meaning), _cell(model), *beside])
    head = ["", display_name("model"), *(["its base", "model / base"] if compared else [])]
    return Section(
        "perplexity",
        "General language",
        note=f"{_conditions(measured)} · {_base(base)}",
        tables=[Table(head, rows)],
        wide=True,
        in_markdown=True,
    )


def _conditions(measured: Mapping[str, Any]) -> str:
    text = measured["text"]
    parts = [text["name"], f"{text['bytes']:,} bytes", f"{measured['tokens']:,} tokens"]
    return " · ".join([*parts, f"windows of {measured['window']:,} by {measured['stride']:,}"])


def _base(base: Mapping[str, Any]) -> str:
    if not base:
        return "trained from scratch, without a base"
    left_out = f", left out: {base['left_out']}" if "left_out" in base else ""
    return f"base {base['name']}{left_out}"


def _cell(value: float | None) -> Cell:
    return Cell(MISSING if value is None else number(value))


def _growth(model: float | None, base: float | None) -> Cell:
    return Cell(f"{model / base:.3f}" if model is not None and base else MISSING)
