"""One wheel and one environment for all tests of it."""

from pathlib import Path

import pytest
from wheels import build_wheel, install


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from what git tracks, or would track, and nothing else."""
    return build_wheel(tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the wheel, and recllm from nowhere else."""
    return install(wheel, tmp_path_factory.mktemp("clean") / "env")
