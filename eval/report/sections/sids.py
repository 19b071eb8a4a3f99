"""How well the codes of the SIDs are used, and what resolving collisions cost."""

from typing import Any

from recllm.eval.report.content import Cell, Section, Table, facts, flatten
from recllm.eval.report.formats import quantity, words
from recllm.eval.report.inputs import ReportInputs


def build(inputs: ReportInputs) -> Section | None:
    """None where there are no figures."""
    leaves = dict(flatten(inputs.sid_health))
    per_level = {name: value for name, value in leaves.items() if isinstance(value, list)}
    rest = {name: value for name, value in leaves.items() if name not in per_level}
    tables = [_levels(per_level)] if per_level else []
    tables += [facts(rest, ["", "SIDs"])] if rest else []
    return Section("sids", "Semantic IDs", tables=tables) if tables else None


def _levels(per_level: dict[str, list[Any]]) -> Table:
    """One row a figure, one column a level, named as in the tokens: a, b, c …"""
    depth = max(len(values) for values in per_level.values())
    head = ["", *(f"level {chr(ord('a') + level)}" for level in range(depth))]
    rows = []
    for name, values in per_level.items():
        padded = [*values, *[None] * (depth - len(values))]
        rows.append([Cell(words(name)), *(Cell(quantity(name, value)) for value in padded)])
    return Table(head, rows)
