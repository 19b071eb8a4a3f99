"""What tests rely on of the stand-in: the Hub's client finds what it would find on the Hub."""

from pathlib import Path

import pytest
from hub_client import log_in
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from local_hub import LocalHub, Repository
from local_hub.repositories import File


def test_a_token_is_its_owners(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert HfApi().whoami()["name"] == "ann"
    log_in(monkeypatch, "hf_nobodys")
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi().whoami()
    hub.users["hf_bobs"] = "bob"
    log_in(monkeypatch, "hf_bobs")
    assert HfApi().whoami()["name"] == "bob"


def test_each_commit_keeps_its_files(hub: LocalHub) -> None:
    hub.repos["ann/shop"] = repository = Repository.new({"w.safetensors": b"1", "a.json": b"1"})
    first = repository.head
    second = repository.commit("main", {"w.safetensors": File(b"2", lfs=True)}, "another")

    def content(revision: str) -> bytes:
        return Path(hf_hub_download("ann/shop", "w.safetensors", revision=revision)).read_bytes()

    assert [content(r) for r in (first.oid, second.oid, "main")] == [b"1", b"2", b"2"]
    api = HfApi()
    assert api.list_repo_files("ann/shop", revision=first.oid) == ["a.json", "w.safetensors"]
    assert api.list_repo_files("ann/shop") == ["w.safetensors"]


def test_who_sees_what(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["ann/hidden"] = Repository.new({"a.json": b"1"}, private=True)
    hub.repos["ann/gated"] = gated = Repository.new({"a.json": b"1"})
    gated.gated = True
    assert hf_hub_download("ann/hidden", "a.json") and hf_hub_download("ann/gated", "a.json")
    hub.users["hf_bobs"] = "bob"
    for token in ("hf_bobs", None):
        log_in(monkeypatch, token) if token else monkeypatch.delenv("HF_TOKEN")
        with pytest.raises(RepositoryNotFoundError):
            HfApi().model_info("ann/hidden")
        assert HfApi().model_info("ann/gated").gated == "manual"
        with pytest.raises(GatedRepoError):
            hf_hub_download("ann/gated", "a.json", cache_dir=tmp_path / f"of {token}")
