"""Publishing: what a run shows appears whole, and replaces what was there."""

from pathlib import Path

import pytest

from recllm.artifacts import atomic
from recllm.artifacts.publish import publish


def test_a_folder_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    source, target = tmp_path / "new", tmp_path / "run" / "model"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "a").write_text("new")
    target.mkdir(parents=True)
    (target / "stale").write_text("old")
    publish(source, target)
    assert [p.relative_to(target).as_posix() for p in target.rglob("*")] == ["deep", "deep/a"]
    assert (target / "deep" / "a").read_text() == "new"
    assert [p.name for p in target.parent.iterdir()] == ["model"]


def test_where_links_cannot_be_made_files_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("other file system")

    monkeypatch.setattr(atomic.os, "link", refuse)
    (tmp_path / "a").write_text("text")
    publish(tmp_path / "a", tmp_path / "out" / "b")
    assert (tmp_path / "out" / "b").read_text() == "text"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.write_text(path, "old")
    with pytest.raises(RuntimeError), atomic.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
