"""The manifest: what an artifact is, from what it was made, and the hash of each of its files."""

import hashlib
import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from recllm.artifacts.atomic import write_text
from recllm.errors import UserError

SCHEMA_VERSION = 1
FILE_NAME = "manifest.json"


class FileEntry(BaseModel):
    """Size in bytes and sha256 of one file of an artifact."""

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """Written last into an artifact's folder: a folder without one is not an artifact."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    stage: str
    stage_version: int
    key: str
    settings: dict[str, Any]
    parents: dict[str, str]
    seed: int
    code_version: str
    commit: str | None
    counts: dict[str, int]
    files: dict[str, FileEntry]
    seconds: float
    peak_memory_bytes: int

    def write(self, folder: Path) -> None:
        """Write the manifest into `folder`."""
        write_text(folder / FILE_NAME, self.model_dump_json(indent=2))

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """The manifest in `folder`, or None where there is none or it is damaged.

        Raises:
            UserError: a newer recllm wrote it.
            OSError: there is one, but it cannot be read now.
        """
        try:
            content = (folder / FILE_NAME).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        _refuse_newer(folder, content)
        try:
            return cls.model_validate_json(content)
        except ValidationError:
            return None


def _refuse_newer(folder: Path, content: bytes) -> None:
    try:
        found = json.loads(content)
    except ValueError:
        return
    version = found.get("schema_version") if isinstance(found, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UserError(
            f"{folder}: expected a manifest of schema {SCHEMA_VERSION} or older, found {version}, "
            "of a newer recllm; update this one, or set another cache_dir"
        )


def describe_files(folder: Path) -> dict[str, FileEntry]:
    """Every file under `folder` but the manifest, by its path relative to it."""
    return {
        path.relative_to(folder).as_posix(): FileEntry(
            bytes=path.stat().st_size, sha256=hash_file(path)
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / FILE_NAME
    }


def find_damage(folder: Path, manifest: Manifest) -> str | None:
    """Say which file of an artifact is missing or differs from its manifest; None where none."""
    for name, entry in manifest.files.items():
        try:
            damage = _find_damage_of_file(folder / name, entry)
        except FileNotFoundError:  # another process may be deleting the artifact
            damage = "is missing"
        if damage:
            return f"{name} {damage}"
    return None


def _find_damage_of_file(path: Path, entry: FileEntry) -> str | None:
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != entry.bytes:
        return f"has {size} bytes instead of {entry.bytes}"
    if hash_file(path) != entry.sha256:
        return "was changed (its sha256 differs)"
    return None


def find_strangers(folder: Path, manifest: Manifest) -> list[str]:
    """Files and links under `folder` that are not the artifact's own."""
    own = {FILE_NAME, *manifest.files}
    paths = (p for p in sorted(folder.rglob("*")) if p.is_symlink() or not p.is_dir())
    return [name for p in paths if (name := p.relative_to(folder).as_posix()) not in own]


def hash_file(path: Path) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_json(value: Any) -> str:
    """sha256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def current_commit() -> str | None:
    """The git commit of the checkout that holds this code; None for an installed wheel."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
