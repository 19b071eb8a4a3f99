"""A recipe, what it ends with when nothing goes wrong, and small disks."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from faults import TINY, Place


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(TINY)
    return str(path)


@pytest.fixture(scope="session")
def whole(recipe: str, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The recipe, run to its end without a fault."""
    place = Place(tmp_path_factory.mktemp("whole"), recipe)
    place.finish()
    return place


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As the processes that `faults` starts have it: quicker, and to the same weights."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("cannot mount a small disk here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
