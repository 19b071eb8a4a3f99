"""Publishing: what a run shows appears whole, and replaces what was there."""

from pathlib import Path

import pytest

from recllm.artifacts import atomic
from recllm.artifacts.publish import MARKER, publish, withdraw
from recllm.errors import UserError


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    source, target = tmp_path / "new", tmp_path / "run" / "model"
    (source / "deep").mkdir(parents=True)
    (source / "stale").write_text("old")
    publish(source, target)
    (source / "stale").unlink()
    (source / "deep" / "a").write_text("new")
    publish(source, target)
    names = sorted(p.relative_to(target).as_posix() for p in target.rglob("*"))
    assert names == [MARKER, "deep", "deep/a"]
    assert (target / "deep" / "a").read_text() == "new"
    assert [p.name for p in target.parent.iterdir()] == ["model"]


def test_what_is_shown_already_is_left_alone_and_what_was_edited_replaced(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name in ("a", "b"):
        (tmp_path / "source" / name).write_text(name)
    target = tmp_path / "run" / "model"
    assert publish(tmp_path / "source", target)
    inode = target.stat().st_ino
    assert not publish(tmp_path / "source", target)
    assert target.stat().st_ino == inode
    for change in (
        lambda: (target / "a").write_text("x"),
        lambda: (target / "b").unlink(),
        lambda: (target / "c").write_text("more"),
    ):
        change()
        assert publish(tmp_path / "source", target)
        assert {p.name for p in target.iterdir()} == {"a", "b", MARKER}
        assert (target / "a").read_text() == "a"


def test_only_what_was_published_is_withdrawn(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    assert withdraw(tmp_path / "file") and not withdraw(tmp_path / "file")
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="was not made by recllm"):
        withdraw(tmp_path / "mine")


def test_where_links_cannot_be_made_files_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("other file system")

    monkeypatch.setattr(atomic.os, "link", refuse)
    monkeypatch.setattr(atomic, "LINKED_BYTES", 0)
    (tmp_path / "a").write_text("text")
    publish(tmp_path / "a", tmp_path / "out" / "b")
    assert (tmp_path / "out" / "b").read_text() == "text"


def test_a_large_file_is_linked_and_a_small_one_can_be_edited(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"0" * atomic.LINKED_BYTES)
    (tmp_path / "small").write_text("a")
    for name in ("large", "small"):
        publish(tmp_path / name, tmp_path / "out" / name)
    assert (tmp_path / "large").samefile(tmp_path / "out" / "large")
    (tmp_path / "out" / "small").write_text("edited")
    assert (tmp_path / "small").read_text() == "a"


def test_a_folder_that_was_not_published_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("data")
    with pytest.raises(UserError, match="was not made by recllm"):
        publish(tmp_path / "source", tmp_path / "mine")
    assert (tmp_path / "mine" / "precious").read_text() == "data"


def test_a_file_in_a_folders_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "model").write_text("mine")
    with pytest.raises(UserError, match="model is a file"):
        publish(tmp_path / "source", tmp_path / "model")
    assert (tmp_path / "model").read_text() == "mine"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.write_text(path, "old")
    with pytest.raises(RuntimeError), atomic.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
