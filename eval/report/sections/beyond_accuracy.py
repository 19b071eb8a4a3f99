"""What hit rates do not show: how much of the catalogue is recommended, and to whom what."""

from collections.abc import Mapping
from typing import Any

from recllm.eval.report.conditions import conditions
from recllm.eval.report.content import Plot, Section
from recllm.eval.report.inputs import ReportInputs
from recllm.eval.report.plots import Series, line_plot
from recllm.results.estimates import cutoff, display_name
from recllm.results.formats import MISSING, quantity, words
from recllm.results.tables import Cell, Table

MEANINGS = {
    "coverage": "share of the catalogue that is recommended to anyone",
    "gini": "inequality of how often items are recommended: 0 even, 1 all on one item",
    "novelty": "mean surprise of the recommended items, in bits",
    "diversity": "share of pairs in a list from different SID clusters",
    "popularity_recommended": "mean training interactions of what is recommended",
    "popularity_targets": "mean training interactions of the targets, the same for all",
    "popularity_bias": "popularity of what is recommended over that of the targets: 1 where alike",
    "invalid_rate": "share of recommendations that are no items of the catalogue",
}


def build(inputs: ReportInputs) -> Section | None:
    """None where nothing of it was measured."""
    found = {name: dict(v) for name, v in (inputs.metrics.get("beyond_accuracy") or {}).items()}
    if "invalid_rate" in inputs.metrics:
        found.setdefault("model", {})["invalid_rate"] = inputs.metrics["invalid_rate"]
    measures = dict.fromkeys(name for values in found.values() for name in values)
    plots = [_popularity(inputs)] if inputs.popularity else []
    if not measures and not plots:
        return None
    rows = [
        [
            Cell(words(name), MEANINGS.get(name, "")),
            *(_cell(name, values) for values in found.values()),
        ]
        for name in measures
    ]
    tables = [Table(["", *(display_name(name) for name in found)], rows)] if rows else []
    return Section(
        "beyond-accuracy",
        "Beyond accuracy",
        note=_note(inputs),
        plots=plots,
        tables=tables,
        wide=True,
    )


def _popularity(inputs: ReportInputs) -> Plot:
    """Of each recommender and of the targets, the share of each part of the catalogue.

    Popularity takes all from the first part, and would leave the others no height.
    """
    # The targets have the place of popularity, so that others have their usual colours.
    order = dict.fromkeys(["model", "targets", *inputs.popularity])
    drawn = {name: inputs.popularity[name] for name in order if name in inputs.popularity}
    left_out = drawn.pop("popularity", None)
    series = [
        Series(display_name(name), range(1, len(shares) + 1), [100 * share for share in shares])
        for name, shares in drawn.items()
    ]
    parts = "tenth of the catalogue, most popular first"
    svg = line_plot("recommended popularity", series, parts, "share (%)")
    caption = "What is recommended, and what was consumed, by the items' training interactions"
    if left_out:
        caption += (
            f"; popularity, {quantity('share', left_out[0])} in the first tenth, is not drawn"
        )
    return Plot(svg, caption)


def _cell(name: str, values: Mapping[str, Any]) -> Cell:
    return Cell(quantity(name, values[name]) if name in values else MISSING)


def _note(inputs: ReportInputs) -> str:
    """The depth is that of the headline metrics."""
    depth = cutoff(inputs.primary or "")
    first = [f"first {depth} recommendations"] if depth else []
    return " · ".join([*first, conditions(inputs)])
