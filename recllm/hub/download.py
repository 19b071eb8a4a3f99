"""A recommender's checkpoint from the Hugging Face Hub."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recllm.errors import UserError
from recllm.models.references import DESCRIPTION

log = logging.getLogger(__name__)

#: user/name, optionally of a branch, tag or commit: user/name@revision.
CHECKPOINT_ID = re.compile(r"^(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[^@\s]+))?$")
#: What a checkpoint has: weights, description, catalogue, tokenizer, chat template. No pickles.
FILES = ("*.json", "*.safetensors", "*.parquet", "*.model", "merges.txt", "vocab.txt", "*.jinja")
#: What only looks like it: files in folders, such as another model's.
NOT_FILES = ("*/*",)
LOG_IN = "`hf auth login` (or set HF_TOKEN)"


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
    repo, _ = _parts(name)
    log.info("%s: commit %s of the Hub; downloading what is not here yet", name, folder.name)
    with _explaining(name):
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

    repo, revision = _parts(name)
    if not constants.HF_HUB_OFFLINE:  # it may take a while until the Hub is given up
        log.info("%s: there is no such folder; asking the Hugging Face Hub", name)
    with _explaining(name):
        return Path(hf_hub_download(repo, DESCRIPTION, revision=revision)).parent


def _parts(name: str) -> tuple[str, str | None]:
    found = CHECKPOINT_ID.match(name)
    if found is None:
        raise UserError(f"{name}: expected user/name or user/name@revision of a model on the Hub")
    return found["repo"], found["revision"]


@contextmanager
def _explaining(name: str) -> Iterator[None]:
    """What the Hub's client raises, in one line."""
    # HTTPError is that of the HTTP library which the client's version uses.
    from huggingface_hub.errors import HFValidationError, HTTPError

    try:
        yield
    except (HFValidationError, HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the Hub's
        raise UserError(f"{name}: there is no such folder, and {_explain(name, error)}") from None


def _explain(name: str, error: Exception) -> str:
    """Why the Hub gives no checkpoint of this name, and what to do."""
    from huggingface_hub import errors

    repo, revision = _parts(name)
    if isinstance(error, errors.GatedRepoError):
        return (
            f"the Hub's repository {repo} is gated: accept its conditions on its page, and log in "
            f"with {LOG_IN}"
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return (
            f"the Hub has no repository {repo} that may be read; check the name, or where it is "
            f"private, log in with {LOG_IN}"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"the Hub's repository {repo} has no revision {revision or 'main'}; check the name"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return (
            f"the Hub's repository {repo} is no recllm checkpoint: it has no {DESCRIPTION}; give "
            "one that was trained with recllm"
        )
    return _explain_silence(error)


def _explain_silence(error: BaseException) -> str:
    """Why the Hub was not heard: offline by a setting, a refusal, or the network."""
    from huggingface_hub import errors

    cause = error.__cause__ or error
    if isinstance(cause, errors.OfflineModeIsEnabled):
        return (
            "it is not in the Hub's cache, which alone is asked where HF_HUB_OFFLINE is set; unset "
            "it, or download it first"
        )
    if isinstance(cause, errors.HfHubHTTPError) and cause.response.status_code in (401, 403):
        return f"the Hub refuses to show it to this account; log in with {LOG_IN} to another one"
    said = " ".join(str(cause).split()) or type(cause).__name__
    return f"the Hub cannot be reached: {said}; try again, files that have arrived are kept"
