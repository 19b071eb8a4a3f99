"""Writes report.html, report.md and report.csv."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from recllm.artifacts.atomic import write_text
from recllm.eval.report.conditions import conditions
from recllm.eval.report.figures_csv import to_csv
from recllm.eval.report.inputs import ReportInputs
from recllm.eval.report.sections import build_sections
from recllm.eval.report.verdict import judge
from recllm.results.markdown import escape, table_lines

FOLDER = Path(__file__).parent
#: How many titles of a history and of a recommended list are shown.
HISTORY_SHOWN = 8
RECOMMENDED_SHOWN = 10


def write_report(inputs: ReportInputs, out: Path) -> None:
    """Write `report.html`, one self-contained page, `report.md` and `report.csv` into `out`.

    Equal inputs give equal bytes. A part of the inputs that is empty is left out.
    """
    context = {
        "name": inputs.name,
        "verdict": judge(inputs),
        "conditions": conditions(inputs),
        "sections": build_sections(inputs),
        "history_shown": HISTORY_SHOWN,
        "recommended_shown": RECOMMENDED_SHOWN,
    }
    write_text(out / "report.html", _render("report.html.j2", True, context))
    write_text(out / "report.md", _render("report.md.j2", False, context))
    write_text(out / "report.csv", to_csv(inputs.metrics))


def _render(template: str, html: bool, context: dict[str, object]) -> str:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["style"] = Markup((FOLDER / "style.css").read_text(encoding="utf-8"))
    environment.filters |= {"md": escape, "table_lines": table_lines}
    text = environment.get_template(template).render(context)
    # A title may hold half of a surrogate pair, which no file in UTF-8 can.
    return text.encode("utf-8", "replace").decode("utf-8")
