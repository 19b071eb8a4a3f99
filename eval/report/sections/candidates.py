"""The model and its baselines on candidate sets, apart from the ranking of the whole catalogue."""

from recllm.eval.report.content import Section
from recllm.eval.report.inputs import ReportInputs
from recllm.results.estimates import display_name
from recllm.results.formats import quantity
from recllm.results.tables import Cell, Table, best_of, estimate_cell

WARNING = (
    "Not comparable with the ranking of the whole catalogue, nor with sets of another size or "
    "kind: metrics over a few candidates may even order models differently (Krichene & Rendle, "
    "2020)"
)


def build(inputs: ReportInputs) -> Section | None:
    """None where no candidate sets were ranked."""
    found = inputs.candidates
    if not found.model:
        return None
    note = f"{_sets(found)} · {WARNING}"
    return Section("candidates", "Candidate sets", note, tables=[_compared(found)],
                   wide=True, in_markdown=True)  # fmt: skip


def _sets(found: ReportInputs) -> str:
    """How the sets came about, and their sizes."""
    settings, sets = found.metrics["settings"], found.metrics["sets"]
    rows = f"{quantity('rows', found.metrics['rows'])} rows"
    if settings["file"] is None:
        drawn = "by popularity" if settings["sampling"] == "popularity" else "uniformly"
        lacking = ", none of the history" if settings["exclude_history"] else ""
        parts = [rows, f"each target and {settings['negatives']} items drawn {drawn}{lacking}"]
    else:
        parts = [rows, "the sets of a file"]
    smallest, largest = sets["smallest"], sets["largest"]
    parts.append(f"{smallest} to {largest} items" if smallest < largest else f"{largest} items")
    if sets["without_target"]:
        parts.append(f"{quantity('sets', sets['without_target'])} lack the target: missed")
    return " · ".join(parts)


def _compared(found: ReportInputs) -> Table:
    metric = found.primary
    recommenders = {"model": found.model} | found.baselines
    columns = [[each.get(name) for each in recommenders.values()] for name in found.headline]
    best = [best_of(column) for column in columns]
    rows: list[list[Cell]] = []
    for place, name in enumerate(recommenders):
        estimates = [column[place] for column in columns]
        row = [
            estimate_cell(estimate, best=estimate is not None and estimate.value == value)
            for estimate, value in zip(estimates, best, strict=True)
        ]
        difference = found.paired.get(name, {}).get(metric or "")
        rows.append([Cell(display_name(name)), *row, estimate_cell(difference, difference=True)])
    head = ["", *found.headline, f"model − baseline, {metric}"]
    return Table(head, rows, "Among the candidates of each row alone; 95% intervals")
