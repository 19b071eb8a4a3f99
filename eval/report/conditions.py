"""Under which settings the figures hold: said beside each of them."""

from recllm.eval.report.inputs import ReportInputs
from recllm.results.formats import outside_catalogue

_SETTINGS = ("exclude_history", "scoring", "beams")


def conditions(inputs: ReportInputs) -> str:
    """Split, rows and the settings that change figures, such as exclude_history, in one line."""
    parts = []
    if split := inputs.metrics.get("split"):
        parts.append(f"{split} split")
    if rows := inputs.metrics.get("rows"):
        parts.append(f"{rows:,} rows")
    if outside := inputs.metrics.get("outside_catalogue"):
        parts.append(outside_catalogue(outside))
    settings = inputs.metrics.get("settings") or {}
    for name in _SETTINGS:
        if name in settings:
            value = settings[name]
            parts.append(f"{name}: {str(value).lower() if isinstance(value, bool) else value}")
    return " · ".join(parts)
