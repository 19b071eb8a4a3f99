"""Pushes that fail: one line, nothing half-done, and the next push does the rest."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_client import ask, log_in, never_wait
from huggingface_hub import constants
from local_hub import TOKEN, Fault, LocalHub, Repository

from recllm.errors import NetworkError, UserError
from recllm.hub.upload import Pushed, upload

Files = dict[str, Path | bytes]
COMMIT = "/commit/main$"
#: Each kind of request of a push, in order.
REQUESTS = [
    ("GET", "^/api/models/ann/shop$"),
    ("POST", "/api/validate-yaml"),
    ("POST", "/preupload/"),
    ("POST", "/objects/batch"),
    ("PUT", "/put/"),
    ("POST", "/objects/verify"),
    ("POST", COMMIT),
]


def push(files: Files, repo: str = "ann/shop") -> Pushed:
    return upload(files, repo, private=False, revision=None)


def existing(hub: LocalHub) -> Repository:
    """A repository with an earlier push of other weights."""
    hub.repos["ann/shop"] = made = Repository.new({"recllm.json": b"{}", "old.safetensors": b"x"})
    return made


def check_line(error: pytest.ExceptionInfo[Exception], said: str) -> None:
    line = str(error.value)
    assert "\n" not in line and said in line
    assert line.startswith("push to ") and TOKEN not in line
    assert "://" not in line, "addresses of the storage are secret"


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize(
    "failure",
    [
        ({"status": 503}, NetworkError, "cannot be reached: it answers with status 503; try again"),
        ({"status": 500}, NetworkError, "cannot be reached: it answers with status 500; try again"),
        ({"status": 429, "headers": {"Retry-After": "30"}}, NetworkError, "too many requests"),
        ({"drop": "request"}, NetworkError, "the Hub cannot be reached: "),
        ({"drop": "answer"}, NetworkError, "the Hub cannot be reached: "),
        ({"status": 401, "message": "Invalid credentials in Authorization header"}, UserError,
         "the Hub does not know the token of this login (Invalid credentials"),
        ({"status": 403, "message": "Storage limit reached"}, UserError,
         "the Hub refuses this to this account (Storage limit reached)"),
    ],
)  # fmt: skip
def test_whatever_fails_the_branch_holds_what_it_held(
    hub: LocalHub, files: Files, request_: tuple[str, str], failure: tuple[dict, type, str]
) -> None:
    (method, path), (fault, kind, said) = request_, failure
    repository = existing(hub)
    before = repository.head
    hub.faults = [Fault(method, path, **fault)]
    with pytest.raises(kind) as error:
        push(files)
    check_line(error, said)
    assert ("all of it, or none" in str(error.value)) == (
        path != REQUESTS[0][1] and kind is NetworkError
    )
    whole = path == COMMIT and fault.get("drop") == "answer"
    assert (repository.head is before) != whole
    assert len(repository.commits) == 1 + whole
    hub.faults = []
    again = push(files)
    assert (again.url is None) == whole
    assert {"old.safetensors"}.isdisjoint(repository.head.files)
    assert files.keys() <= repository.head.files.keys()


@dataclass
class Fails:
    """A failure that goes away, and what the client does about it."""

    fault: Fault
    waits: list[float]


@pytest.mark.parametrize(
    "fails",
    [
        Fails(Fault("PUT", "model|/put/", 503, times=2), [1, 2]),
        Fails(Fault("PUT", "/put/", 429, headers={"Retry-After": "30"}, times=1), [31]),
        Fails(Fault("PUT", "/put/", drop="request", times=1), [1]),
        Fails(Fault("POST", "/objects/batch", 502, times=3), [1, 2, 4]),
        Fails(Fault("POST", "/preupload/", 429, times=1), [1]),
    ],
)
def test_what_passes_is_waited_for(
    hub: LocalHub, files: Files, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = never_wait(monkeypatch)
    del files["items.parquet"]  # one large file: its attempts come one after the other
    hub.faults = [fails.fault]
    assert push(files).url
    assert [wait for wait in waits if wait >= 1] == fails.waits


def test_large_files_that_have_arrived_are_not_sent_again(hub: LocalHub, files: Files) -> None:
    hub.faults = [Fault("POST", COMMIT, 503)]
    with pytest.raises(NetworkError):
        push(files)
    assert hub.count("PUT", "/put/") == 2
    hub.faults, hub.requests = [], []
    assert push(files).url
    assert hub.count("PUT", "/put/") == 0


def test_who_may_not_write(hub: LocalHub, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as error:
        push(files, "bob/shop")
    check_line(error, 'rights to create a model under the namespace "bob"')
    hub.repos["bob/shop"] = Repository.new({"recllm.json": b"{}"})
    with pytest.raises(UserError) as error:
        push(files, "bob/shop")
    check_line(error, "the Hub refuses this to this account")
    hub.repos["bob/hidden"] = Repository.new({"recllm.json": b"{}"}, private=True)
    with pytest.raises(UserError) as error:
        push(files, "bob/hidden")
    check_line(error, 'rights to create a model under the namespace "bob"')
    log_in(monkeypatch, "hf_nobodys")
    with pytest.raises(UserError) as error:
        push(files)
    check_line(error, "the Hub does not know the token of this login")
    assert "hf_nobodys" not in str(error.value)
    assert hub.repos.keys() == {"bob/shop", "bob/hidden"}
    assert all(len(hub.repository(name).commits) == 1 for name in hub.repos)


def test_long_words_of_the_hub_are_cut(hub: LocalHub, files: Files) -> None:
    words = "Expired: " + "<Signature>a b</Signature> " * 99
    hub.faults = [Fault("PUT", "/put/", 403, message=words)]
    with pytest.raises(UserError) as error:
        push(files)
    check_line(error, "the Hub refuses this to this account (Expired: <Signature>a b<")
    assert len(str(error.value)) < 400


def test_without_a_login_nobody_is_asked(
    hub: LocalHub, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match="no login to the Hub; log in with `hf auth login`"):
        push(files)
    log_in(monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        push(files)
    assert not hub.requests


def test_nobody_listens(hub: LocalHub, files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    ask("http://127.0.0.1:9", monkeypatch)  # the port of `discard`
    with pytest.raises(NetworkError) as error:
        push(files)
    check_line(error, "the Hub cannot be reached: ")
    assert not hub.requests


@dataclass
class SomebodyPushes(Fault):
    """No failure: another commit comes in while a push goes on."""

    repository: Repository | None = None

    def strikes(self, method: str, path: str) -> bool:
        if super().strikes(method, path):
            assert self.repository is not None
            self.repository.commit("main", self.repository.head.files, "somebody's")
        return False


@pytest.mark.parametrize("request_", REQUESTS[1:])
def test_a_push_between_is_noticed(hub: LocalHub, files: Files, request_: tuple[str, str]) -> None:
    repository = existing(hub)
    hub.faults = [SomebodyPushes(*request_, times=1, repository=repository)]
    with pytest.raises(UserError) as error:
        push(files)
    check_line(error, "somebody else has pushed there meanwhile; nothing was changed")
    assert repository.head.message == "somebody's"
    assert push(files).url


def test_a_card_that_the_hub_cannot_read(hub: LocalHub, files: Files) -> None:
    files["README.md"] = b"---\n: [\n---\n"
    with pytest.raises(UserError) as error:
        push(files)
    check_line(error, "status 400 (the card's YAML cannot be read); nothing was changed there")
    assert hub.count("PUT", "") == 0


def test_a_file_that_is_gone_is_no_affair_of_the_hub(hub: LocalHub, files: Files) -> None:
    files["config.json"] = Path("nowhere/config.json")
    with pytest.raises(FileNotFoundError):
        push(files)
    assert len(hub.repository("ann/shop").commits) == 1
