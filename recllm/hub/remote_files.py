"""Files of a repository on the Hub, told from local ones without downloading them."""

from hashlib import sha1, sha256
from pathlib import Path
from typing import TYPE_CHECKING

from recllm.artifacts.manifest import hash_file

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling


def same_content(local: Path | bytes, remote: "RepoSibling") -> bool:
    """Whether a file of the Hub has this content.

    Large files are known there by their sha256, all others by git's id of a blob.

    Args:
        remote: as `model_info` tells of it with `files_metadata`.
    """
    if size_of(local) != remote.size:
        return False
    if remote.lfs is not None:
        found = hash_file(local) if isinstance(local, Path) else sha256(local).hexdigest()
        return found == remote.lfs.sha256
    content = local.read_bytes() if isinstance(local, Path) else local
    blob = b"blob %d\0" % len(content) + content
    return sha1(blob, usedforsecurity=False).hexdigest() == remote.blob_id


def size_of(local: Path | bytes) -> int:
    """Bytes of a file or of content."""
    return local.stat().st_size if isinstance(local, Path) else len(local)
