"""The stage cache: built once, never half, damage noticed, shared by processes."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from recllm.artifacts import atomic
from recllm.artifacts import cache as cache_module
from recllm.artifacts import manifest as manifest_module
from recllm.artifacts.cache import Artifact, Cache, stage_key
from recllm.artifacts.manifest import Manifest, find_damage
from recllm.artifacts.publish import publish
from recllm.artifacts.stage import Stage
from recllm.config.schema import Recipe
from recllm.errors import UserError

RECIPE = Recipe.model_construct(seed=3)


class Write(Stage):
    """Writes its text and leaves a line in a log outside, to count its runs."""

    name = "write"

    def __init__(self, text: str, log: Path | None = None, seconds: float = 0) -> None:
        super().__init__(RECIPE)
        self.text, self.log, self.seconds = text, log, seconds

    def settings(self) -> dict[str, Any]:
        return {"text": self.text}

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        (out / "text.txt").write_text(self.text)
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{os.getpid()}\n")
        time.sleep(self.seconds)
        return {"characters": len(self.text)}


class Fail(Write):
    """Fails after it has written something."""

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        super().build(inputs, out)
        raise ValueError("no")


class Resume(Write):
    """Counts how often it was started in its own folder; fails the first time."""

    name = "resume"
    resumable = True

    def build(self, inputs: Mapping[str, Path], out: Path) -> dict[str, int]:
        marker = out / "started"
        seen = marker.exists()
        marker.touch()
        if not seen:
            raise ValueError("killed")
        return {}


class Child(Write):
    """Has a parent."""

    name = "child"
    parents = ("write",)


def test_an_artifact_has_its_files_and_a_manifest(tmp_path: Path) -> None:
    artifact = Cache(tmp_path).build(Write("hello"), {})
    assert (artifact.path / "text.txt").read_text() == "hello"
    manifest = Manifest.read(artifact.path)
    assert manifest is not None
    assert manifest == artifact.manifest
    assert manifest.counts == {"characters": 5}
    assert manifest.files["text.txt"].bytes == 5
    assert manifest.seed == 3
    assert manifest.peak_memory_bytes > 0


def test_an_unchanged_stage_is_not_run_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        Cache(tmp_path / "cache").build(Write("a", log), {})
    Cache(tmp_path / "cache").build(Write("b", log), {})
    assert len(log.read_text().splitlines()) == 2


def test_the_key_covers_version_settings_parents_and_a_seed_that_is_used() -> None:
    class Newer(Write):
        version = 2

    class Seeded(Write):
        seeded = True

    class OtherSeed(Seeded):
        def __init__(self) -> None:
            super().__init__("a")
            self.recipe = Recipe.model_construct(seed=4)

    keys = [
        stage_key(Write("a"), {}),
        stage_key(Write("b"), {}),
        stage_key(Newer("a"), {}),
        stage_key(Write("a"), {"x": "1"}),
        stage_key(Write("a"), {"x": "2"}),
        stage_key(Seeded("a"), {}),
        stage_key(OtherSeed(), {}),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == stage_key(Write("a"), {})


def test_a_failed_stage_leaves_no_artifact(tmp_path: Path) -> None:
    cache, stage = Cache(tmp_path), Fail("a")
    with pytest.raises(ValueError, match="no"):
        cache.build(stage, {})
    assert cache.find("write", stage_key(stage, {})) is None
    assert cache.why_absent("write", stage_key(stage, {})) == "it has not run yet"
    assert not list(tmp_path.glob("*/*.partial"))
    assert cache.build(Write("a"), {}).manifest.counts == {"characters": 1}


def test_a_resumable_stage_finds_what_it_left(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with pytest.raises(ValueError, match="killed"):
        cache.build(Resume("a"), {})
    assert (cache.build(Resume("a"), {}).path / "started").exists()


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def link(path: Path, content: str | None) -> None:
    """Put a link to a file with this content, or to none, in place of a file."""
    target = path.parents[3] / "elsewhere"
    if content is not None:
        target.write_text(content)
    path.unlink()
    path.symlink_to(target)


def claim_another_key(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace(folder.name, "0" * 16))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "text.txt").unlink(), "text.txt is missing"),
        (lambda folder: (folder / "text.txt").write_text("hell"), "4 bytes instead of 5"),
        (lambda folder: (folder / "text.txt").write_text("jello"), "text.txt was changed"),
        (lambda folder: (folder / "text.txt").write_text(""), "0 bytes instead of 5"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest is missing or"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest is missing or"),
        (lambda folder: cut_in_half(folder / "manifest.json"), "manifest is missing or"),
        (lambda folder: link(folder / "text.txt", "jello"), "text.txt was changed"),
        (lambda folder: link(folder / "text.txt", None), "text.txt is missing"),
        (lambda folder: claim_another_key(folder), "its manifest is that of another artifact"),
    ],
)
def test_damage_is_noticed_said_and_mended(
    tmp_path: Path, damage: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache"
    artifact = Cache(cache).build(Write("hello"), {})
    damage(artifact.path)
    why = Cache(cache).why_absent("write", artifact.manifest.key)
    assert why is not None and reason in why
    again = Cache(cache).build(Write("hello"), {})
    assert (again.path / "text.txt").read_text() == "hello"
    assert "rebuilding the damaged artifact" in caplog.text


def test_a_link_is_as_good_as_its_content_and_never_written_through(tmp_path: Path) -> None:
    artifact = Cache(tmp_path / "cache").build(Write("hello"), {})
    link(artifact.path / "text.txt", "hello")
    assert Cache(tmp_path / "cache").find("write", artifact.manifest.key) is not None
    elsewhere = (artifact.path / "text.txt").resolve()
    elsewhere.write_text("jello")
    again = Cache(tmp_path / "cache").build(Write("hello"), {})
    assert not (again.path / "text.txt").is_symlink()
    assert (again.path / "text.txt").read_text() == "hello"
    assert elsewhere.read_text() == "jello"


def test_a_whole_artifact_that_is_a_link_or_a_file_is_rebuilt(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    path = Cache(cache).build(Write("hello"), {}).path
    moved = path.rename(tmp_path / "moved")
    path.symlink_to(moved)
    assert Cache(cache).find("write", path.name) is not None
    (moved / "text.txt").write_text("jello")
    assert not Cache(cache).build(Write("hello"), {}).path.is_symlink()
    assert (moved / "text.txt").read_text() == "jello"
    shutil.rmtree(path)
    path.write_text("no folder")
    assert (Cache(cache).build(Write("hello"), {}).path / "text.txt").read_text() == "hello"


def test_what_is_not_the_artifacts_own_is_moved_out_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    path = Cache(tmp_path / "cache").build(Write("hello", log), {}).path
    (path / "deep").mkdir()
    (path / "deep" / "adapter_config.json").write_text("{}")
    (path / "notes").symlink_to(log)
    assert Cache(tmp_path / "cache").why_absent("write", path.name) is None
    found = Cache(tmp_path / "cache").build(Write("hello", log), {})
    assert sorted(p.name for p in found.path.rglob("*")) == ["deep", "manifest.json", "text.txt"]
    (aside,) = path.parent.glob("*.strangers.*")
    assert (aside / "deep" / "adapter_config.json").read_text() == "{}"
    assert "not the artifact's own" in caplog.text and "deep/adapter_config.json" in caplog.text
    assert len(log.read_text().splitlines()) == 1


def test_strangers_of_one_name_are_all_kept(tmp_path: Path) -> None:
    path = Cache(tmp_path).build(Write("hello"), {}).path
    for text in ("first", "second"):
        (path / "notes").write_text(text)
        assert Cache(tmp_path).find("write", path.name) is not None
    kept = {p.read_text() for p in path.parent.glob("*.strangers.*/notes")}
    assert kept == {"first", "second"}


def test_a_stranger_that_another_process_moves_first_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = Cache(tmp_path).build(Write("hello"), {}).path
    monkeypatch.setattr(cache_module, "find_strangers", lambda *_: ["notes"])
    assert Cache(tmp_path).find("write", path.name) is not None
    assert not list(path.parent.glob("*.strangers.*"))
    assert "moved" not in caplog.text


def test_a_stranger_that_cannot_be_moved_is_only_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = Cache(tmp_path).build(Write("hello"), {}).path
    (path / "notes").touch()

    def refuse(**_: object) -> str:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(cache_module.tempfile, "mkdtemp", refuse)
    assert Cache(tmp_path).find("write", path.name) is not None
    assert "cannot be moved out (Read-only file system): notes" in caplog.text


def test_an_artifact_that_cannot_be_read_now_is_not_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Cache(tmp_path).build(Write("hello"), {}).path

    def fail(self: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fail)
        with pytest.raises(OSError, match="Input/output error"):
            Cache(tmp_path).build(Write("hello"), {})
    assert Cache(tmp_path).find("write", path.name) is not None


def test_an_artifact_of_a_newer_version_is_refused_and_not_deleted(tmp_path: Path) -> None:
    path = Cache(tmp_path).build(Write("hello"), {}).path
    manifest = json.loads((path / "manifest.json").read_text())
    newer = json.dumps(manifest | {"schema_version": 2, "unheard_of": []})
    (path / "manifest.json").write_text(newer)
    with pytest.raises(UserError, match="found 2, of a newer recllm"):
        Cache(tmp_path).build(Write("hello"), {})
    assert (path / "manifest.json").read_text() == newer


def test_a_file_that_goes_while_it_is_read_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = Cache(tmp_path).build(Write("hello"), {})

    def gone(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(manifest_module, "hash_file", gone)
    assert find_damage(artifact.path, artifact.manifest) == "text.txt is missing"


def test_a_published_file_that_is_edited_in_place_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(atomic, "LINKED_BYTES", 1)
    shown = tmp_path / "run" / "text.txt"
    artifact = Cache(tmp_path / "cache").build(Write("hello"), {})
    publish(artifact.path / "text.txt", shown)
    assert shown.samefile(artifact.path / "text.txt")
    shown.write_text("jello")  # and with it the artifact
    again = Cache(tmp_path / "cache").build(Write("hello"), {})
    assert "rebuilding the damaged artifact (text.txt was changed" in caplog.text
    assert publish(again.path / "text.txt", shown)
    assert shown.read_text() == (again.path / "text.txt").read_text() == "hello"


def test_unfinished_files_do_not_become_part_of_a_resumed_artifact(tmp_path: Path) -> None:
    cache, stage = Cache(tmp_path), Resume("a")
    with pytest.raises(ValueError, match="killed"):
        cache.build(stage, {})
    (cache.partial("resume", stage_key(stage, {})) / ".unfinished-metrics.x").write_text("half")
    assert list(cache.build(stage, {}).manifest.files) == ["started"]


def test_a_child_is_built_on_its_parents_folder(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    parent = cache.build(Write("a"), {})
    child = cache.build(Child("a"), {"write": parent})
    assert child.manifest.parents == {"write": parent.manifest.key}
    other = cache.build(Child("a"), {"write": cache.build(Write("b"), {})})
    assert other.manifest.key != child.manifest.key


def _build(folder: Path, log: Path) -> None:
    Cache(folder).build(Write("shared", log, seconds=0.5), {})


def test_two_processes_build_an_artifact_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    arguments = (tmp_path / "cache", tmp_path / "log")
    processes = [context.Process(target=_build, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_killed_build_is_started_again(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    log = tmp_path / "log"
    process = context.Process(target=_build, args=(tmp_path / "cache", log))
    process.start()
    while not log.exists():
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    artifact: Artifact = Cache(tmp_path / "cache").build(Write("shared", log), {})
    assert (artifact.path / "text.txt").read_text() == "shared"
    assert len(log.read_text().splitlines()) == 2
