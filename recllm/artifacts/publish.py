"""What a run shows in its own folder: files of its artifacts, by hard link where possible."""

import shutil
import tempfile
from pathlib import Path

from recllm.artifacts.atomic import link_or_copy


def publish(source: Path, target: Path) -> None:
    """Put a file or folder of an artifact at `target`, replacing what is there as a whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_file():
        link_or_copy(source, target)
        return
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    fresh.chmod(0o755)
    try:
        for file in sorted(source.rglob("*")):
            if file.is_file():
                link_or_copy(file, fresh / file.relative_to(source))
        if target.exists():
            shutil.rmtree(target)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
