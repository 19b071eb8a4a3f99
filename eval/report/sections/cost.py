"""What training, evaluation and every stage took: time, memory and tokens."""

from collections.abc import Mapping
from typing import Any

from recllm.eval.report.content import Section
from recllm.eval.report.inputs import ReportInputs
from recllm.results.formats import MISSING, quantity, words
from recllm.results.tables import Cell, Table

MEANINGS = {
    "seconds": "training: the whole stage with its validations; evaluation: loading and ranking",
    "peak_memory_bytes": "resident memory of the process",
    "tokens": "trained on, in all epochs, without padding",
    "prompt_tokens": "of the prompts, each counted once",
    "beam_tokens": "of the codes that the search follows, on every level but the last",
    "tokens_per_second": "of the tokens above, in the steps alone",
    "targets_per_second": "tokens that carry loss",
    "samples_per_second": "rows trained on",
    "mfu": "of the GPU's peak, by the operations that the model needs",
    "peak_gpu_memory_bytes": "allocated by torch",
}
STAGE_FIGURES = ("seconds", "peak_memory_bytes")


def build(inputs: ReportInputs) -> Section | None:
    """None where nothing was measured."""
    evaluation = dict(inputs.metrics.get("cost") or {})
    training = evaluation.pop("training", None) or {}
    sides = {
        name: cost for name, cost in (("training", training), ("evaluation", evaluation)) if cost
    }
    tables = [table for table in (_compare(sides), _stages(inputs.stages)) if table]
    return Section("cost", "Cost", tables=tables) if tables else None


def _compare(sides: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """One row a figure, one column for each of training and evaluation."""
    names = list(dict.fromkeys(name for cost in sides.values() for name in cost))
    order = [*MEANINGS, *(name for name in names if name not in MEANINGS)]
    rows = [
        [
            Cell(words(name), MEANINGS.get(name, "")),
            *(
                Cell(quantity(name, cost[name]) if name in cost else MISSING)
                for cost in sides.values()
            ),
        ]
        for name in order
        if name in names
    ]
    return Table(["", *sides], rows) if rows else None


def _stages(stages: Mapping[str, Mapping[str, Any]]) -> Table | None:
    if not stages:
        return None
    rows = [
        [Cell(words(stage)), *(Cell(quantity(name, took.get(name))) for name in STAGE_FIGURES)]
        for stage, took in stages.items()
    ]
    head = ["stage", *(words(name) for name in STAGE_FIGURES)]
    return Table(head, rows, "What building each stage took; one from the cache took it earlier")
