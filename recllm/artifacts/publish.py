"""What a run shows in its own folder: copies of its artifacts' files, large ones by hard link."""

import shutil
import tempfile
from pathlib import Path

from recllm.artifacts.atomic import link_or_copy
from recllm.errors import UserError

#: Stands in every published folder: only such a folder is ever replaced.
MARKER = ".published-by-recllm"


def publish(source: Path, target: Path) -> None:
    """Put a file or folder of an artifact at `target`, replacing what is there as a whole.

    Raises:
        UserError: a folder stands there that was not published.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        link_or_copy(source, target)
        return
    if target.exists() and not (target / MARKER).exists():
        raise UserError(
            f"{target} exists and was not made by recllm; move it, or set another output_dir"
        )
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    fresh.chmod(0o755)
    try:
        for file in sorted(source.rglob("*")):
            if file.is_file():
                link_or_copy(file, fresh / file.relative_to(source))
        (fresh / MARKER).touch()
        if target.exists():
            shutil.rmtree(target)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
