"""The Hub's client of this process, asking the stand-in in place of the Hub."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from local_hub.hub import TOKEN


def ask(url: str, home: Path, monkeypatch: pytest.MonkeyPatch, *, token: str | None = None) -> None:
    """Let the client ask a server, with a cache of its own, and not wait between its attempts.

    Args:
        home: where the cache goes.
        token: of the login; none where None.
    """
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    settings = {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
    }
    for name, value in settings.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    if token is not None:
        log_in(monkeypatch, token)


def log_in(monkeypatch: pytest.MonkeyPatch, token: str = TOKEN) -> None:
    """Log in, in place of an earlier login."""
    monkeypatch.setenv("HF_TOKEN", token)


def environment(url: str, home: Path, token: str | None = None) -> dict[str, str]:
    """What lets the client of another process ask a server, to be added to no HF_ setting."""
    found = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    return found | ({"HF_TOKEN": token} if token else {})
