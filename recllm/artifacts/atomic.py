"""Files that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recllm.errors import UserError

#: Files of this size and above are linked.
LINKED_BYTES = 1 << 20
#: What the names of unfinished files and folders start with; a killed process leaves them.
UNFINISHED = ".unfinished-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f"{UNFINISHED}{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_new(folder: Path) -> None:
    """Refuse a folder that has something in it.

    Raises:
        UserError: it has, or is a file.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder}: expected a folder that is new or empty; choose another")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: expected a folder that is new or empty, found a file")


@contextmanager
def creating(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its place when the block ends without error.

    Raises:
        UserError: something stands there other than an empty folder.
    """
    require_new(folder)
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}{folder.name}.", dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())  # mkdtemp makes folders that only their owner can read
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees the old file or the new one, never a part."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def link_or_copy(source: Path, target: Path) -> None:
    """Put the file `source` at `target` as well.

    A copy, that may be edited without harm to the source; of a large file (weights, which nobody
    edits) a hard link where possible.
    """
    if source.stat().st_size >= LINKED_BYTES:
        target.parent.mkdir(parents=True, exist_ok=True)
        linked = target.with_name(f"{UNFINISHED}{target.name}.{os.getpid()}")
        try:
            os.link(source, linked)
            linked.replace(target)
            return
        except OSError:  # another file system, or one without links
            linked.unlink(missing_ok=True)
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def remove(path: Path) -> None:
    """Delete a file, a link or a whole folder; what a link points to is left alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed process left unfinished in `folder`, but not in the folders in it.

    Nobody else may be writing there.
    """
    for path in list(folder.glob(f"{UNFINISHED}*")):
        remove(path)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
