"""The Markdown pages of the repository, taken apart: blocks of code, links, headings, tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What a block may need that a test does not have, as said in a comment in the line before it.
NEEDS = ("gpu", "network", "set-up")

_FENCE = re.compile(r"^```(\w*)\s*$")
_NEEDS = re.compile(r"^<!-- needs: (.*) -->$")
_LINK = re.compile(r"""\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)\"""")
_HEADING = re.compile(r"^#{1,6} (.+)$")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        line: of its fence, from 1.
        needs: what it needs that a test does not have; None: it can be run.
    """

    page: Path
    line: int
    language: str
    text: str
    needs: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def all_pages() -> list[Path]:
    """The README, CONTRIBUTING and everything in docs/."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name_of(page: Path) -> str:
    """What a test of a page is called by."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in its order.

    Raises:
        ValueError: a block has no end, or a comment of what is needed is followed by none.
    """
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    needs: str | None = None
    opened: tuple[int, str] | None = None
    for number, line in enumerate(lines, 1):
        if opened is None:
            if match := _FENCE.match(line):
                opened = (number, match[1])
                continue
            if needs is not None:
                raise ValueError(f"{page}:{number}: `needs: {needs}` must stand before a block")
            needs = match[1] if (match := _NEEDS.match(line)) else None
        elif line == "```":
            start, language = opened
            text = "\n".join(lines[start : number - 1]) + "\n"
            found.append(Block(page, start, language, text, needs))
            opened = needs = None
    if opened is not None:
        raise ValueError(f"{page}:{opened[0]}: this block has no end")
    return found


def prose_of(page: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page that stand in no block, with their numbers."""
    inside = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            inside = not inside
        elif not inside:
            yield number, line


def links_of(page: Path) -> list[tuple[int, str]]:
    """What a page links to or shows, with the line of each."""
    return [
        (number, match[1] or match[2])
        for number, line in prose_of(page)
        for match in _LINK.finditer(line)
    ]


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: set[str] = set()
    for _, line in prose_of(page):
        if match := _HEADING.match(line):
            slug = re.sub(r"[^\w\- ]", "", match[1].lower()).replace(" ", "-")
            again = 1
            while (unique := slug if again == 1 else f"{slug}-{again - 1}") in found:
                again += 1
            found.add(unique)
    return found


@dataclass(frozen=True)
class Row:
    """A row of a table, its cells by the table's headers.

    Attributes:
        heading: the nearest heading above the table.
    """

    page: Path
    line: int
    heading: str
    cells: dict[str, str]


def rows_of(page: Path) -> list[Row]:
    """The rows of all tables of a page."""
    found: list[Row] = []
    heading, headers = "", None
    for number, line in prose_of(page):
        if match := _HEADING.match(line):
            heading = match[1]
        if not line.startswith("|"):
            headers = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if headers is None:
            headers = cells
        elif set(line) - set("|-: "):
            found.append(Row(page, number, heading, dict(zip(headers, cells, strict=True))))
    return found
