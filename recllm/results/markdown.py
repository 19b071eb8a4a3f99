"""Tables and titles as Markdown that shows them as they are."""

import re

from recllm.results.tables import Cell, Table

_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")


def escape(text: object) -> str:
    """`text` on one line, with nothing in it that Markdown or HTML would read as markup."""
    return _SPECIAL.sub(r"\\\1", _one_line(text))


def table_lines(table: Table) -> list[str]:
    """A GitHub table: names to the left, figures to the right."""
    rule = [":--"] * table.labels + ["--:"] * (len(table.head) - table.labels)
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    return [f"| {' | '.join(row)} |" for row in [[_in_cell(h) for h in table.head], rule, *rows]]


def _cell(cell: Cell) -> str:
    text = f"**{_in_cell(cell.text)}**" if cell.best else _in_cell(cell.text)
    return f"{text} {_in_cell(cell.detail)}".strip()


def _in_cell(text: str) -> str:
    """Our own words in a cell, where only a pipe and a tag would be misread."""
    return _one_line(text).replace("|", r"\|")


def _one_line(text: object) -> str:
    return " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
