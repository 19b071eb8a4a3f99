"""The Hub's client in this process, made to ask a stand-in."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from huggingface_hub import constants
from local_hub import COMMIT, TOKEN, LocalHub, local_hub

from recllm.models import model_names


@contextmanager
def asked_hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A hub that the client of this process asks while the block runs, its cache in a folder."""
    forget()
    with local_hub() as found:
        ask(found.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        # The client takes any server for one with Xet where it has the library.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr("transformers.utils.hub._hf_api", None)  # it keeps its first endpoint
        never_wait(monkeypatch)
        yield found
    forget()


def ask(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client ask this server."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def never_wait(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the client's attempts follow each other at once.

    Its own clock is stopped, not this process': threads that other tests left sleep there too.

    Returns:
        A list that gets the seconds that the client would have waited.
    """
    waits: list[float] = []
    clock = mock.Mock(wraps=time, sleep=waits.append)
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)
    return waits


def log_in(monkeypatch: pytest.MonkeyPatch, token: str = TOKEN) -> None:
    """Log in, in place of an earlier login."""
    monkeypatch.setenv("HF_TOKEN", token)


def environment(url: str, home: Path, token: str | None = None) -> dict[str, str]:
    """That of another process whose client asks this server, with a cache of its own.

    Args:
        token: of its login.
    """
    found = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    found |= {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    return found | ({"HF_TOKEN": token} if token else {})


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
