"""Tables and titles as Markdown that shows them as they are."""

import re

from recllm.eval.report.content import Cell, Table

_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")


def escape(text: object) -> str:
    """`text` on one line, with nothing in it that Markdown or HTML would read as markup."""
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return _SPECIAL.sub(r"\\\1", line)


def table_lines(table: Table) -> list[str]:
    """A GitHub table: the first column to the left, figures to the right."""
    rule = [":--", *["--:"] * (len(table.head) - 1)]
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    return [f"| {' | '.join(row)} |" for row in [[escape(h) for h in table.head], rule, *rows]]


def _cell(cell: Cell) -> str:
    text = f"**{escape(cell.text)}**" if cell.best else escape(cell.text)
    return f"{text} {escape(cell.detail)}".strip()
