"""What a run shows in its own folder: copies of its artifacts' files, large ones by hard link."""

import filecmp
import shutil
import tempfile
from pathlib import Path

from recllm.artifacts.atomic import UNFINISHED, link_or_copy
from recllm.errors import UserError

#: Stands in every published folder: only such a folder is ever replaced as a whole.
MARKER = ".published-by-recllm"


def publish(source: Path, target: Path) -> bool:
    """Put a file or folder of an artifact at `target`, replacing what is there as a whole.

    Returns:
        Whether anything changed: what is the same already is left as it is.

    A file is replaced whoever's it is: who may publish into a folder is for the caller to know.

    Raises:
        UserError: a folder stands there that was not published, or a file in a folder's place.
    """
    check_replaceable(target)
    if source.is_dir() and target.is_file():
        raise UserError(f"{target} is a file, where a folder goes; move it away")
    if is_published(source, target):
        return False
    if source.is_file():
        link_or_copy(source, target)
        return True
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}{target.name}.", dir=target.parent))
    fresh.chmod(0o755)
    try:
        for file in _files(source):
            link_or_copy(source / file, fresh / file)
        (fresh / MARKER).touch()
        withdraw(target)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return True


def withdraw(target: Path) -> bool:
    """Take away what was published at `target`, at once; whether there was something.

    A file is deleted whoever's it is, as `publish` replaces it.

    Raises:
        UserError: a folder stands there that was not published.
    """
    check_replaceable(target)
    if not target.is_dir():
        existed = target.exists()
        target.unlink(missing_ok=True)
        return existed
    # Moved first: a folder that is half deleted could pass for a whole one.
    aside = Path(tempfile.mkdtemp(prefix=f"{UNFINISHED}{target.name}.", dir=target.parent))
    target.rename(aside / target.name)
    shutil.rmtree(aside)
    return True


def check_replaceable(target: Path) -> None:
    """Refuse to replace a folder that recllm did not make.

    Raises:
        UserError: such a folder stands at `target`.
    """
    if target.is_dir() and not (target / MARKER).exists():
        raise UserError(
            f"{target} exists and was not made by recllm; move it, or set another output_dir"
        )


def is_published(source: Path, target: Path) -> bool:
    """Whether what stands at `target` has the content of `source`."""
    if source.is_file():
        return target.is_file() and _same(source, target)
    if not (target / MARKER).exists():
        return False
    files = _files(source)
    return files == _files(target) and all(_same(source / f, target / f) for f in files)


def _files(folder: Path) -> list[str]:
    paths = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(path for path in paths if path != MARKER)


def _same(first: Path, second: Path) -> bool:
    return first.samefile(second) or filecmp.cmp(first, second, shallow=False)
