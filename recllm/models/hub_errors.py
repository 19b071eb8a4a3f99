"""What the Hugging Face Hub's client raises, in one line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from recllm.errors import UserError

LOG_IN = "`hf auth login` (or set HF_TOKEN)"


@contextmanager
def explaining(asked: str, repo: str, revision: str | None = None) -> Iterator[None]:
    """Turns what the Hub's client raises in the block into one line: `asked`, and why not.

    Args:
        asked: what was wanted, as the line begins, such as "push ann/shop: ".
        repo: of the Hub, as user/name.

    Raises:
        UserError: the Hub refuses, or cannot be reached.
        OSError: the disk's, as it is.
    """
    # HTTPError is that of the HTTP library which the client's version uses.
    from huggingface_hub.errors import HFValidationError, HTTPError

    try:
        yield
    except (HFValidationError, HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the Hub's
        raise UserError(f"{asked}{explain(error, repo, revision)}") from None


def find_hub_error(error: BaseException | None) -> Exception | None:
    """The Hub's own among an exception and its causes: other libraries wrap it in theirs."""
    from huggingface_hub.errors import HFValidationError, HTTPError, LocalEntryNotFoundError

    while error is not None:
        if isinstance(error, HFValidationError | HTTPError | LocalEntryNotFoundError):
            return error
        error = error.__cause__
    return None


def explain(error: Exception, repo: str, revision: str | None = None) -> str:
    """Why the Hub did not do what it was asked for with a repository, and what to do."""
    from huggingface_hub import errors

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
        return f"the Hub's repository {repo} lacks a file: {' '.join(str(error).split())}"
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
    status = cause.response.status_code if isinstance(cause, errors.HfHubHTTPError) else None
    if status in (401, 403):
        return f"the Hub refuses this to this account; log in with {LOG_IN} to another one"
    if status == 429:
        return "the Hub has had too many requests from here; wait some minutes, and try again"
    said = " ".join(str(cause).split()) or type(cause).__name__
    return f"the Hub cannot be reached: {said}; try again, files that have arrived are kept"
