"""The messages that docs/troubleshooting.md quotes are those that the code prints."""

import ast
import re
from functools import cache

import pytest
from pages import ROOT, Block, blocks_of

PAGE = ROOT / "docs" / "troubleshooting.md"
#: Characters that a text in the code must have beside what it fills in, to be known again.
FIXED = 25


@cache
def texts_in_the_code() -> list[re.Pattern[str]]:
    """Every longer text in the code; where it fills something in, anything may stand."""
    found: list[re.Pattern[str]] = []
    for folder in ("recllm", "data_prep", "eval"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                parts = node.values if isinstance(node, ast.JoinedStr) else [node]
                fixed = [fixed_text(part) for part in parts]
                if sum(len(text or "") for text in fixed) >= FIXED:
                    found.append(re.compile("".join(map(as_pattern, fixed))))
    return found


def as_pattern(text: str | None) -> str:
    """What a text may be when it is printed: logging fills in its own kind of places."""
    return ".*" if text is None else re.sub("%[sd]", ".*", re.escape(text))


def fixed_text(node: ast.AST) -> str | None:
    """A constant text, its white space made plain; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"\s+", " ", node.value)
    return None


def is_printed(message: str) -> bool:
    """Whether a text of the code, filled in, is part of the message."""
    plain = " ".join(message.split())
    return any(text.search(plain) for text in texts_in_the_code())


QUOTED = [block for block in blocks_of(PAGE) if block.language == "text"]


@pytest.mark.parametrize("block", QUOTED, ids=str)
def test_a_quoted_message_is_in_the_code(block: Block) -> None:
    assert is_printed(block.text)


def test_there_are_enough_and_others_are_not_found() -> None:
    assert len(QUOTED) > 20
    assert is_printed("recllm: the recipe 'x' is a folder; give the YAML\n file in it")
    assert not is_printed("recllm: the recipe 'x' is a folder; give a YAML file that is in it")
