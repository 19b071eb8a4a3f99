"""What a section of the report holds, independent of how it is rendered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from recllm.results.tables import Table


@dataclass(frozen=True)
class Plot:
    """An inline SVG and what it shows, in words."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        key: its anchor in the page.
        note: under which settings its figures hold, or how to read them.
        examples: as in `ReportInputs`.
        code: text shown as it is, folded.
        wide: whether it takes the page's whole width; such sections come first.
        in_markdown: whether its tables and examples are in report.md too.
    """

    key: str
    title: str
    note: str = ""
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = ()
    examples: Sequence[Mapping[str, Any]] = ()
    code: str = ""
    wide: bool = False
    in_markdown: bool = False
