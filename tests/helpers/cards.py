"""A card's parts, as a reader sees them."""

import re
from html import unescape

from huggingface_hub import ModelCard, ModelCardData


def section(card: str, title: str) -> str:
    """The text under a heading."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", card, re.S | re.M)
    assert found, title
    return found[1]


def table(text: str) -> list[list[str]]:
    """The cells of every row of the tables in a text, as a reader sees them."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [
        [re.sub(r"\\(.)", r"\1", unescape(cell.strip())) for cell in re.split(r"(?<!\\)\|", row)][
            1:-1
        ]
        for row in rows
    ]


def metadata(card: str) -> ModelCardData:
    """What the Hub reads of a card, by its own client."""
    data = ModelCard(card).data
    assert isinstance(data, ModelCardData)
    return data
