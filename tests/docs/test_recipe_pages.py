"""The pages of the recipes show the settings that the recipes have."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pages import ROOT, Row, name_of, rows_of

from recllm.config.loading import load_recipe, shipped_recipes, to_yaml

PAGES = sorted((ROOT / "docs" / "recipes").glob("*.md"))
SHIPPED = shipped_recipes()
#: A setting of a recipe, as a table names it.
SETTING = re.compile(r"`[a-z_]+(\.\w+)+`")


@cache
def resolved(name: str) -> dict[str, Any]:
    """A shipped recipe with every default written out."""
    return yaml.safe_load(to_yaml(load_recipe(name)))


def settings_of(page: Path) -> list[Row]:
    """The rows of tables of settings whose first column is a dotted key in backticks."""
    rows = [row for row in rows_of(page) if "ours" in row.cells]
    return [row for row in rows if SETTING.fullmatch(row.cells["setting"])]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_settings_are_those_of_the_recipe_in_the_heading(page: Path) -> None:
    for row in settings_of(page):
        where = f"{name_of(page)}:{row.line}"
        named = re.search(r"`([^`]+)`", row.heading)
        assert named and named[1] in SHIPPED, f"{where}: of which recipe?"
        value = resolved(named[1])
        for part in row.cells["setting"].strip("`").split("."):
            known = part if part in value else part.replace("_", "-")  # tasks go by both
            assert known in value, f"{where}: {row.cells['setting']}"
            value = value[known]
        shown = yaml.safe_load(row.cells["ours"].strip("`"))
        assert shown == value, f"{where}: {row.cells['setting']} is {value!r}"


def test_every_recipe_has_its_page() -> None:
    told = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert not [name for name in SHIPPED if f"`{name}`" not in told]
    assert sum(len(settings_of(page)) for page in PAGES) > 100
