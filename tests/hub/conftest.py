"""A stand-in of the Hub, and a login to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import asked_hub, log_in
from local_hub import LocalHub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub that the client of this process asks, logged in as `ann`."""
    with asked_hub(tmp_path / "hub", monkeypatch) as found:
        log_in(monkeypatch)
        yield found


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path | bytes]:
    """What a push sends: files of a folder, and contents."""
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(range(256)) * 400)
    items = tmp_path / "items.parquet"
    items.write_bytes(b"PAR1")
    return {
        "recllm.json": b"{}",
        "README.md": b"---\nlibrary_name: recllm\n---\n# A model\n",
        "recipe.yaml": b"seed: 0\n",
        "manifests/sft.json": b"{}",
        "empty.json": b"",
        "items.parquet": items,
        "model.safetensors": weights,
    }
