"""Every block of a page that needs nothing special is run, in the page's order, in one folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import all_pages, blocks_of, name_of

RUN = {
    page: [b for b in blocks_of(page) if b.needs is None and b.language in ("bash", "python")]
    for page in all_pages()
}

#: The tutorial trains twice and starts many processes: on a busy machine that takes its time.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.mark.parametrize("page", [page for page, found in RUN.items() if found], ids=name_of)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    folder = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    for block in RUN[page]:
        command = ["bash", "-euo", "pipefail", "-c", block.text]
        if block.language == "python":
            command = [sys.executable, "-c", block.text]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{block.text}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{block}\n{done.stderr}"
