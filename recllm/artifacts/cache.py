"""The stage cache: an artifact is built once for its key, by one process, and never half."""

import _thread
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

import recllm
from recllm.artifacts.atomic import remove, remove_unfinished
from recllm.artifacts.manifest import (
    FILE_NAME,
    Manifest,
    current_commit,
    describe_files,
    find_damage,
    find_strangers,
    hash_json,
)
from recllm.artifacts.stage import Stage
from recllm.artifacts.storage import writing

log = logging.getLogger(__name__)

KEY_LENGTH = 16


@dataclass(frozen=True)
class Artifact:
    """A finished stage: its folder and its manifest."""

    path: Path
    manifest: Manifest


def stage_key(stage: Stage, parents: Mapping[str, str]) -> str:
    """The key of a stage's artifact: its version, settings and parents' keys, the seed if used."""
    identity = {
        "stage": stage.name,
        "version": stage.version,
        "settings": stage.settings(),
        "seed": stage.recipe.seed if stage.seeded else None,
        "parents": dict(parents),
    }
    return hash_json(identity)[:KEY_LENGTH]


class Cache:
    """Artifacts under one folder, at `<stage>/<key>`; several runs and processes share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._verified: dict[Path, Manifest] = {}

    def path(self, stage: str, key: str) -> Path:
        """Where the artifact of a stage with this key is, or would be."""
        return self.folder / stage / key

    def find(self, stage: str, key: str) -> Artifact | None:
        """The artifact, if it exists and every file still has the hash in its manifest.

        Files that somebody put among its own are moved out: a model's folder is read as a whole.
        """
        artifact, _ = self._inspect(stage, key)
        if artifact:
            self._move_out_strangers(artifact)
        return artifact

    def manifests(self, stage: str) -> list[Manifest]:
        """Those of a stage's artifacts that are finished, the newest first; files unchecked."""
        paths = list((self.folder / stage).glob(f"*/{FILE_NAME}"))
        paths.sort(key=lambda path: -path.stat().st_mtime_ns)
        found = [(path.parent, Manifest.read(path.parent)) for path in paths]
        return [m for folder, m in found if m and (m.stage, m.key) == (stage, folder.name)]

    def why_absent(self, stage: str, key: str) -> str | None:
        """Why a stage would run: one short reason; None where its artifact is there and whole."""
        artifact, damage = self._inspect(stage, key)
        if artifact:
            return None
        if damage:
            return f"its artifact is damaged: {damage}"
        if self.partial(stage, key).exists():
            return "an earlier build was interrupted"
        others = list((self.folder / stage).glob(f"*/{FILE_NAME}"))
        return "its settings or inputs changed" if others else "it has not run yet"

    def build(
        self, stage: Stage, parents: Mapping[str, Artifact], key: str | None = None
    ) -> Artifact:
        """Return the stage's artifact, building it unless it is there.

        The folder is built aside, under a lock, and renamed when whole; a second process that
        wants the same artifact waits and then reads it.

        Args:
            key: its key, where the caller has it already.
        """
        key = key or stage_key(stage, {name: a.manifest.key for name, a in parents.items()})
        found = self.find(stage.name, key)
        if found:
            return found
        with writing(self.folder, "cache_dir"), self._locked(stage.name, key):
            return self.find(stage.name, key) or self._build_aside(stage, key, parents)

    def partial(self, stage: str, key: str) -> Path:
        """Where the artifact is while it is built."""
        return self.folder / stage / f"{key}.partial"

    @contextmanager
    def _locked(self, stage: str, key: str) -> Iterator[None]:
        path = self.path(stage, key).with_suffix(".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s: another process is building this; waiting for it", stage)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _build_aside(self, stage: Stage, key: str, parents: Mapping[str, Artifact]) -> Artifact:
        final, partial = self.path(stage.name, key), self.partial(stage.name, key)
        _, damage = self._inspect(stage.name, key)
        if damage:
            log.warning("%s: rebuilding the damaged artifact (%s)", stage.name, damage)
            remove(final)
        if not stage.resumable:
            remove(partial)
        partial.mkdir(exist_ok=True)
        for folder in (partial, *(p for p in partial.rglob("*") if p.is_dir())):
            remove_unfinished(folder)
        try:
            with writing(self.folder, "cache_dir"):  # asks the disk before the files are deleted
                manifest = self._run(stage, key, parents, partial)
        except BaseException:
            if not stage.resumable:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        partial.rename(final)
        self._verified[final] = manifest
        return Artifact(final, manifest)

    def _run(
        self, stage: Stage, key: str, parents: Mapping[str, Artifact], folder: Path
    ) -> Manifest:
        started = time.monotonic()
        with PeakMemory() as memory:
            counts = stage.build({name: a.path for name, a in parents.items()}, folder)
        manifest = Manifest(
            stage=stage.name,
            stage_version=stage.version,
            key=key,
            settings=stage.settings(),
            parents={name: a.manifest.key for name, a in parents.items()},
            seed=stage.recipe.seed,
            code_version=recllm.__version__,
            commit=current_commit(),
            counts=counts,
            files=describe_files(folder),
            seconds=round(time.monotonic() - started, 3),
            peak_memory_bytes=memory.peak,
        )
        manifest.write(folder)
        return manifest

    def _inspect(self, stage: str, key: str) -> tuple[Artifact | None, str | None]:
        folder = self.path(stage, key)
        if folder in self._verified:
            return Artifact(folder, self._verified[folder]), None
        if not folder.exists() and not folder.is_symlink():
            return None, None
        manifest = Manifest.read(folder)
        if manifest is None:
            return None, "its manifest is missing or unreadable"
        if (manifest.stage, manifest.key) != (stage, key):
            return None, "its manifest is that of another artifact"
        damage = find_damage(folder, manifest)
        if damage:
            return None, damage
        self._verified[folder] = manifest
        return Artifact(folder, manifest), None

    def _move_out_strangers(self, artifact: Artifact) -> None:
        strangers = find_strangers(artifact.path, artifact.manifest)
        if not strangers:
            return
        stage, names = artifact.manifest.stage, ", ".join(strangers)
        try:
            aside = _move_aside(artifact.path, strangers)
        except OSError as error:  # such as in a cache that is read-only: others may still use it
            log.warning(
                "%s: in %s is what is not the artifact's own, and it cannot be moved out (%s): %s",
                stage, artifact.path, error.strerror, names,
            )  # fmt: skip
        else:
            if aside:
                log.warning(
                    "%s: moved what is not the artifact's own to %s: %s", stage, aside, names
                )


def _move_aside(folder: Path, names: list[str]) -> Path | None:
    """Move files out of a folder into a new one beside it; None where another process did."""
    aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.strangers.", dir=folder.parent))
    aside.chmod(0o755)
    moved = 0
    try:
        for name in names:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                (folder / name).rename(aside / name)
                moved += 1
    finally:
        if not moved:
            shutil.rmtree(aside)
    return aside if moved else None


class PeakMemory:
    """Samples this process's resident memory; `peak` is the most seen, in bytes."""

    INTERVAL_SECONDS = 0.1

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._stop = threading.Event()
        self.peak = 0

    def __enter__(self) -> "PeakMemory":
        self._sample()
        # Not a threading.Thread, whose start waits for it under a lock: Ctrl-C at that moment
        # breaks the lock, and the thread says so with a traceback.
        _thread.start_new_thread(self._watch, ())
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._sample()

    def _sample(self) -> None:
        self.peak = max(self.peak, self._process.memory_info().rss)

    def _watch(self) -> None:
        while not self._stop.wait(self.INTERVAL_SECONDS):
            self._sample()
