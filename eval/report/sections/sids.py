"""How well the codes of the SIDs are used, and what resolving collisions cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from recllm.eval.report.content import Cell, Section, Table
from recllm.eval.report.formats import quantity, words
from recllm.eval.report.inputs import ReportInputs

MEANINGS = {
    "collision_rate": "items that shared a SID before resolution",
    "traffic_collision_rate": "the same, weighted by training interactions",
    "moved": "items that resolution gave another SID",
    "moved_prefix": "those of them that left their prefix",
    "resolution_cost": "rise of the quantization error by resolution",
    "fullest_prefix_traffic": "training interactions under the busiest first code",
}


def build(inputs: ReportInputs) -> Section | None:
    """None where there are no figures."""
    health = dict(inputs.sid_health)
    levels = health.pop("levels", None)
    tables = [_levels(levels)] if levels else []
    if health:
        rows = [
            [Cell(words(name), MEANINGS.get(name, "")), Cell(quantity(name, value))]
            for name, value in health.items()
        ]
        tables.append(Table(["", "all levels"], rows))
    return Section("sids", "Semantic IDs", tables=tables) if tables else None


def _levels(levels: Sequence[Mapping[str, Any]]) -> Table:
    """One row a figure, one column a level, named as in the tokens: a, b, c …"""
    names = dict.fromkeys(name for level in levels for name in level)
    rows = [
        [Cell(words(name)), *(Cell(quantity(name, level.get(name))) for level in levels)]
        for name in names
    ]
    head = ["", *(f"level {chr(ord('a') + depth)}" for depth in range(len(levels)))]
    return Table(head, rows)
