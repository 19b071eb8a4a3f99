"""How well the codes of the SIDs are used, what prefixes say, and what collisions cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from recllm.eval.report.content import Plot, Section
from recllm.eval.report.inputs import ReportInputs
from recllm.eval.report.plots import SERIES, Series, interval_plot, line_plot
from recllm.results.formats import MISSING, number, quantity, words
from recllm.results.tables import Cell, Table

MEANINGS = {
    "collision_rate": "items that shared a SID before resolution",
    "traffic_collision_rate": "the same, weighted by training interactions",
    "sharing_rate": "items that share a SID in the end",
    "moved": "items that resolution gave another SID",
    "moved_prefix": "those of them that left their prefix",
    "unexplained_share": "quantization error, as a share of the vectors' variance",
    "resolution_cost": "rise of the quantization error by resolution",
    "fullest_prefix_traffic": "training interactions under the busiest first code",
}
#: What prefixes are asked, in the table and in the plot.
QUESTIONS = {
    "same_category": ("pairs of items under one prefix with the same categories", "categories"),
    "covisited": ("neighbours in training sequences under one prefix", "neighbours"),
}


def build(inputs: ReportInputs) -> Section | None:
    """None where there are no figures."""
    health = dict(inputs.sid_health)
    levels, prefixes = health.pop("levels", []), health.pop("prefixes", [])
    curves = health.pop("items_by_code", []), health.pop("traffic_by_first_code", [])
    tables = [_levels(levels)] if levels else []
    if prefixes:
        tables.append(_prefixes(prefixes))
    if health:
        rows = [
            [Cell(words(name), MEANINGS.get(name, "")), Cell(quantity(name, value))]
            for name, value in health.items()
            if value is not None
        ]
        tables.append(Table(["", "all levels"], rows))
    plots = [plot for plot in (_usage(*curves), _against_chance(prefixes)) if plot]
    return Section("sids", "Semantic IDs", plots=plots, tables=tables) if tables else None


def _levels(levels: Sequence[Mapping[str, Any]]) -> Table:
    """One row a figure, one column a level, named as in the tokens: a, b, c …"""
    names = dict.fromkeys(name for level in levels for name in level)
    rows = [
        [Cell(words(name)), *(Cell(quantity(name, level.get(name))) for level in levels)]
        for name in names
    ]
    return Table(["", *(f"level {_letter(depth)}" for depth in range(len(levels)))], rows)


def _prefixes(prefixes: Sequence[Mapping[str, Any]]) -> Table:
    """One column for each length of a prefix."""
    rows = [[Cell("prefixes"), *(Cell(number(prefix["prefixes"])) for prefix in prefixes)]]
    rows += [
        [Cell(meaning), *(_versus_chance(prefix[name]) for prefix in prefixes)]
        for name, (meaning, _) in QUESTIONS.items()
        if any(prefix[name] for prefix in prefixes)
    ]
    return Table(["", *(f"prefix {_span(depth)}" for depth in range(len(prefixes)))], rows)


def _versus_chance(share: Mapping[str, float] | None) -> Cell:
    if share is None:
        return Cell(MISSING)
    by_chance = f"by chance {quantity('share', share['chance'])}"
    return Cell(quantity("share", share["found"]), by_chance)


def _usage(
    by_level: Sequence[Sequence[Sequence[float]]], traffic: Sequence[Sequence[float]]
) -> Plot | None:
    """Lorenz curves of the levels; as many as there are colours."""
    named = [(f"items, level {_letter(depth)}", curve) for depth, curve in enumerate(by_level)]
    if traffic:
        named.insert(1, ("interactions, level a", traffic))
    series = [
        Series(name, [100 * x for x, _ in curve], [100 * y for _, y in curve])
        for name, curve in named[: len(SERIES)]
        if curve
    ]
    if not series:
        return None
    svg = line_plot("codes", series, "codes, most used first (%)", "taken (%)")
    return Plot(svg, "Share of the items and of the training interactions by the most used codes")


def _against_chance(prefixes: Sequence[Mapping[str, Any]]) -> Plot | None:
    """The shares of each question and prefix, beside those by chance."""
    asked = [
        (f"{short}, {_span(depth)}", prefix[name])
        for name, (_, short) in QUESTIONS.items()
        for depth, prefix in enumerate(prefixes)
        if prefix[name]
    ]
    if not asked:
        return None
    rows = range(len(asked))
    series = [
        Series(label, rows, [100 * share[key] for _, share in asked])
        for label, key in (("these SIDs", "found"), ("by chance", "chance"))
    ]
    svg = interval_plot("prefixes", [name for name, _ in asked], series, "pairs of items (%)")
    return Plot(
        svg,
        "Pairs under one prefix that have the same categories, and pairs of neighbours in training "
        "sequences that have the same prefix",
    )


def _letter(depth: int) -> str:
    return chr(ord("a") + depth)


def _span(depth: int) -> str:
    """The levels of a prefix that ends at a depth."""
    return "a" if depth == 0 else f"a–{_letter(depth)}"
