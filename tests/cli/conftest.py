"""A recipe that the commands can be called with."""

from pathlib import Path

import pytest
from small_log import LOG, RECIPE


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(folder=tmp_path))
    (tmp_path / "log.csv").write_text(LOG)
    return str(path)
