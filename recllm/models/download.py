"""A recommender's checkpoint from the Hugging Face Hub."""

import logging
import re
from pathlib import Path

from recllm.errors import UserError
from recllm.models.hub_errors import explaining
from recllm.models.references import DESCRIPTION

log = logging.getLogger(__name__)

#: user/name, optionally of a branch, tag or commit: user/name@revision.
CHECKPOINT_ID = re.compile(r"^(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^@\s]+))?$")
#: What a checkpoint has: weights, description, catalogue, tokenizer, chat template. No pickles.
FILES = ("*.json", "*.safetensors", "*.parquet", "*.model", "merges.txt", "vocab.txt", "*.jinja")
#: What only looks like it: files in folders, such as another model's.
NOT_FILES = ("*/*",)


def is_checkpoint_id(name: str) -> bool:
    """Whether a name may be that of a checkpoint on the Hub."""
    return CHECKPOINT_ID.match(name) is not None


def download_checkpoint(name: str) -> Path:
    """The folder in the Hub's cache that holds a checkpoint; only what is missing is downloaded.

    Args:
        name: user/name or user/name@revision.

    Raises:
        UserError: as `find_description`.
    """
    from huggingface_hub import snapshot_download

    folder = find_description(name)
    repo, revision = split_id(name)
    log.info("%s: commit %s of the Hub; downloading what is not here yet", name, folder.name)
    with explaining(_no_folder(name), repo, revision):
        # The commit: the branch may move on meanwhile.
        found = snapshot_download(
            repo, revision=folder.name, allow_patterns=list(FILES), ignore_patterns=list(NOT_FILES)
        )
    return Path(found)


def find_description(name: str) -> Path:
    """As `download_checkpoint`, with the checkpoint's description alone.

    Raises:
        UserError: there is no such repository or revision, it may not be read, it holds no
            checkpoint, or the Hub cannot be reached.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    repo, revision = split_id(name)
    if not constants.HF_HUB_OFFLINE:  # it may take a while until the Hub is given up
        log.info("%s: there is no such folder; asking the Hugging Face Hub", name)
    with explaining(_no_folder(name), repo, revision):
        try:
            return Path(hf_hub_download(repo, DESCRIPTION, revision=revision)).parent
        except RemoteEntryNotFoundError:
            raise UserError(
                f"{_no_folder(name)}the Hub's repository {repo} is no recllm checkpoint: it has no "
                f"{DESCRIPTION}; give one that was trained with recllm"
            ) from None


def split_id(name: str) -> tuple[str, str | None]:
    """The repository and the revision of a checkpoint's id.

    Raises:
        UserError: it is no such id.
    """
    found = CHECKPOINT_ID.match(name)
    if found is None:
        raise UserError(f"{name}: expected user/name or user/name@revision of a model on the Hub")
    return found["repo"], found["revision"]


def _no_folder(name: str) -> str:
    return f"{name}: there is no such folder, and "
