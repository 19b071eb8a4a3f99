"""What tests of checkpoints on the Hub share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import asked_hub
from local_hub import LocalHub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub that the client of this process asks."""
    with asked_hub(tmp_path / "hub", monkeypatch) as found:
        yield found
