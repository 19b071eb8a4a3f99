"""The Hub's client in this process, made to ask a stand-in."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import constants
from local_hub import COMMIT, LocalHub, local_hub

from recllm.models import model_names


@contextmanager
def asked_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub that the client of this process asks while the block runs, its cache in a folder."""
    forget()
    with local_hub() as found:
        monkeypatch.setattr(constants, "ENDPOINT", found.url)
        url = f"{found.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr("transformers.utils.hub._hf_api", None)  # it keeps its first endpoint
        monkeypatch.setattr("time.sleep", lambda _: None)  # between the client's attempts
        yield found
    forget()


def forget() -> None:
    """As another process: what names mean is looked up again."""
    model_names.find_commit.cache_clear()
    model_names._download.cache_clear()


def name_base(checkpoint: Path, base: str) -> None:
    """Let a recommender's adapter name a base on the stand-in."""
    for file, new in (
        ("recllm.json", {"base": {"name": base, "revision": COMMIT, "fingerprint": None}}),
        ("adapter_config.json", {"base_model_name_or_path": base, "revision": COMMIT}),
    ):
        content = json.loads((checkpoint / file).read_text())
        (checkpoint / file).write_text(json.dumps(content | new))
