"""Disks that are full or cannot be written, told apart from other failures."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recllm.errors import StorageError, UserError

FULL = {errno.ENOSPC, errno.EDQUOT}
REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
#: How libraries that are not written in Python say that a disk is full.
FULL_TEXTS = ("No space left on device", "Disk quota exceeded")
#: With less free space than this, a failure that nothing else explains is the disk's.
PROBE_BYTES = 1 << 18


@contextmanager
def writing(folder: Path, setting: str) -> Iterator[None]:
    """Turns what is raised while `folder` is written into one line, where the disk is at fault.

    torch, safetensors, tokenizers and DuckDB raise exceptions of their own, without an error
    number; where one says nothing of the disk, the disk is asked.

    Args:
        setting: the recipe's key that names the folder.

    Raises:
        StorageError: the folder's disk is full, or does not let itself be written.
    """
    try:
        yield
    except (UserError, StorageError):
        raise
    except Exception as error:
        refusal = _probe(folder)
        if refusal in REFUSED:
            raise StorageError(
                f"{folder} cannot be written ({os.strerror(refusal)}): make it writable, or set "
                f"{setting} to a folder that is, and run the same command again"
            ) from error
        full = _find_full(error)
        if full is None and refusal not in FULL:
            raise
        file = _file_of(full)
        place, advice = folder, f", or set {setting} to a folder on another disk,"
        if file and file.resolve().is_relative_to(folder.resolve()):
            place = file
        elif file and refusal not in FULL:  # such as a temporary file
            place, advice = file, ""
        raise StorageError(
            f"no space is left on the disk of {place}: free some{advice} and run the same command "
            "again; finished stages are kept, and nothing half-written is taken for whole"
        ) from error


def require_folder(path: Path, setting: str) -> None:
    """Refuse a setting that names a file, a folder inside of one, or what no folder can be.

    Raises:
        UserError: it does.
    """
    if "\0" in str(path):
        raise UserError(f"{setting}: expected a folder, found {str(path)!r} with a null in it")
    try:
        place = next(place for place in (path, *path.parents) if place.exists())
    except OSError as error:
        raise UserError(f"{setting}: {path} cannot be a folder: {error.strerror}") from None
    if not place.is_dir():
        raise UserError(f"{setting}: expected a folder, but {place} is a file")


def _probe(folder: Path) -> int | None:
    """The error number of writing a little into the folder, or into the first that it is in."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except OSError as error:
        return error.errno
    return None


def _find_full(error: BaseException | None) -> BaseException | None:
    """The error, or the first of its causes, that says that a disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error
        if any(text in str(error) for text in FULL_TEXTS):
            return error
        error = error.__cause__ or error.__context__
    return None


def _file_of(error: BaseException | None) -> Path | None:
    """The file that could not be written, where the error names it."""
    if not isinstance(error, OSError):
        return None
    named = error.filename2 or error.filename  # of a copy, the second is the one written
    return Path(named) if isinstance(named, str) else None
