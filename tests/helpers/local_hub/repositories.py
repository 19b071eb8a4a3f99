"""What a repository of the stand-in holds: commits, each with all its files, and branches."""

import re
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any

import yaml

#: The commit of a repository that is a folder.
COMMIT = "0123456789abcdef0123456789abcdef01234567"
#: As the Hub's `.gitattributes` has it: what is kept in LFS whatever its size, and from which size.
LFS_SUFFIXES = {".safetensors", ".parquet", ".bin", ".model", ".arrow", ".gz"}
LFS_BYTES = 10 * 1024 * 1024
FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


def goes_to_lfs(path: str, size: int) -> bool:
    """Whether the Hub keeps a file of this name and size in LFS."""
    return size > 0 and (Path(path).suffix in LFS_SUFFIXES or size > LFS_BYTES)


@dataclass(frozen=True)
class File:
    """A file's content, and whether it is kept in LFS."""

    content: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        """Of the content: the name of an LFS object."""
        return sha256(self.content).hexdigest()

    @property
    def blob_id(self) -> str:
        """git's: for LFS, that of the pointer which stands in git in its place."""
        blob = self.pointer if self.lfs else self.content
        return sha1(b"blob %d\0" % len(blob) + blob).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git holds of an LFS file."""
        told = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\n"
        return f"{told}size {len(self.content)}\n".encode()


@dataclass(frozen=True)
class Commit:
    """All files of a repository at one time, by their paths."""

    oid: str
    files: dict[str, File]
    message: str
    parent: str | None


@dataclass
class Repository:
    """Commits by their ids, and branches (and tags) that name some of them.

    Attributes:
        private: whether only who may write there sees it.
        gated: whether its files are refused to all who may not write there.
        objects: what was uploaded to LFS, by sha256.
    """

    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    objects: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def new(cls, files: dict[str, bytes], *, private: bool = False) -> "Repository":
        """One with a first commit on `main`."""
        repository = cls(private=private)
        held = {path: File(c, goes_to_lfs(path, len(c))) for path, c in files.items()}
        repository.commit("main", held, "initial commit")
        return repository

    @classmethod
    def of_folder(cls, folder: Path) -> "Repository":
        """The files of a folder as they are now, which nobody can write."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        named = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        files = {name: File(c, goes_to_lfs(name, len(c))) for name, c in named.items()}
        commit = Commit(COMMIT, files, "a folder", None)
        return cls({COMMIT: commit}, {"main": COMMIT}, {"v1": COMMIT})

    @property
    def head(self) -> Commit:
        """The last commit on `main`."""
        return self.commits[self.branches["main"]]

    def find(self, revision: str | None) -> Commit | None:
        """The commit of a branch, a tag or a commit's id; of `main` where none is given."""
        revision = revision or "main"
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(oid)

    def commit(self, branch: str, files: dict[str, File], message: str) -> Commit:
        """A new last commit of a branch."""
        parent = self.branches.get(branch)
        told = "".join(f"{path}{file.blob_id}" for path, file in sorted(files.items()))
        oid = sha1(f"{len(self.commits)}{parent}{message}{told}".encode()).hexdigest()
        self.commits[oid] = made = Commit(oid, dict(files), message, parent)
        self.branches[branch] = oid
        return made


def card_data(commit: Commit) -> dict[str, Any]:
    """What the card of a commit says in its YAML."""
    card = commit.files.get("README.md")
    found = FRONT_MATTER.match(card.content.decode()) if card else None
    return yaml.safe_load(found[1]) if found else {}
