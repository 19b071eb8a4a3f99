"""One run at a time in a run's folder, whatever becomes of the others."""

import multiprocessing
import os
import signal
import time
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest
from filelock import FileLock

from recllm.artifacts import output
from recllm.artifacts.output import OWNER, occupied
from recllm.errors import UserError

FORK = multiprocessing.get_context("fork")


def hold(folder: Path, identity: str, seconds: float) -> None:
    with occupied(folder, identity):
        (folder / f"{os.getpid()}-in").touch()
        time.sleep(seconds)
        (folder / f"{os.getpid()}-out").touch()


def start(folder: Path, identity: str, seconds: float) -> ForkProcess:
    process = FORK.Process(target=hold, args=(folder, identity, seconds))
    process.start()
    while not (folder / f"{process.pid}-in").exists():
        time.sleep(0.01)
    return process


@pytest.fixture(autouse=True)
def _little_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "GRACE_SECONDS", 0.2)


def test_a_run_of_the_same_recipe_waits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    first = start(tmp_path, "a", 1)
    with occupied(tmp_path, "a"):
        assert (tmp_path / f"{first.pid}-out").exists()
    assert "waiting for it" in caplog.text
    first.join()


def test_a_run_of_another_recipe_is_refused(tmp_path: Path) -> None:
    first = start(tmp_path, "a", 30)
    with (
        pytest.raises(UserError, match=rf"other settings .*process {first.pid}"),
        occupied(tmp_path, "b"),
    ):
        pass
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    assert (tmp_path / OWNER).exists()
    (tmp_path / ".unfinished-model.x").mkdir()
    with occupied(tmp_path, "b"):  # neither lock nor owner of a dead process counts
        assert not (tmp_path / ".unfinished-model.x").exists()
    assert not (tmp_path / OWNER).exists()


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_an_owner_that_cannot_be_read_is_waited_for(tmp_path: Path, content: str) -> None:
    first = start(tmp_path, "a", 1)
    (tmp_path / OWNER).write_text(content)
    with occupied(tmp_path, "b"):
        assert (tmp_path / f"{first.pid}-out").exists()
    first.join()


def test_what_is_unfinished_is_cleared_only_where_a_run_writes(tmp_path: Path) -> None:
    for place in (".", "eval", "another-run"):
        (tmp_path / place / ".unfinished-model.x").mkdir(parents=True)
    with occupied(tmp_path, "a", places=(".", "eval")):
        left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob(".unfinished-*")}
    assert left == {"another-run/.unfinished-model.x"}


def test_the_folder_is_free_again_where_its_owner_cannot_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    with pytest.raises(PermissionError), monkeypatch.context() as patch, occupied(tmp_path, "a"):
        patch.setattr(Path, "unlink", refuse)
    FileLock(tmp_path / output.LOCK).acquire(timeout=0)
