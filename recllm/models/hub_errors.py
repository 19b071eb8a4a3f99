"""What the Hugging Face Hub's client raises, in one line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError
from textwrap import shorten

from recllm.errors import NetworkError, UserError

LOG_IN = "`hf auth login` (or set HF_TOKEN)"
#: So many letters of what the Hub says itself: its storage answers with whole pages.
WORDS = 200


@contextmanager
def explaining(
    asked: str,
    repo: str,
    revision: str | None = None,
    *,
    unreachable: type[UserError | NetworkError] = UserError,
) -> Iterator[None]:
    """Turns what the Hub's client raises in the block into one line: `asked`, and why not.

    Args:
        asked: what was wanted, as the line begins, such as "push to ann/shop: ".
        repo: of the Hub, as user/name.
        unreachable: what is raised where the Hub cannot be reached, or has no time now.

    Raises:
        UserError: the Hub refuses.
        OSError: the disk's, as it is.
    """
    # HTTPError is that of the HTTP library which the client's version uses.
    from huggingface_hub.errors import HFValidationError, HTTPError

    try:
        yield
    except (HFValidationError, HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the Hub's
        kind = unreachable if is_silence(error) else UserError
        raise kind(f"{asked}{explain(error, repo, revision)}") from None


def is_silence(error: Exception) -> bool:
    """Whether the Hub did not answer, or only that it cannot now; else it refuses."""
    from huggingface_hub import errors

    cause = _root(error)
    if isinstance(cause, errors.HfHubHTTPError):
        status = cause.response.status_code
        return status >= 500 or status in (408, 429)
    if isinstance(cause, ValueError):  # what the client refuses itself, or cannot read
        return isinstance(cause, JSONDecodeError)
    return not isinstance(cause, errors.OfflineModeIsEnabled)


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


def _root(error: BaseException) -> BaseException:
    """What the Hub answered, or that it was not asked; where neither is known, the first cause."""
    from huggingface_hub import errors

    while not isinstance(error, errors.HfHubHTTPError | errors.OfflineModeIsEnabled):
        if error.__cause__ is None:
            break
        error = error.__cause__
    return error


def _explain_silence(error: Exception) -> str:
    """Why the Hub was not heard: offline by a setting, a refusal, or the network."""
    from huggingface_hub import errors

    cause = _root(error)
    if isinstance(cause, errors.OfflineModeIsEnabled):
        return (
            "it is not in the Hub's cache, which alone is asked where HF_HUB_OFFLINE is set; unset "
            "it, or download it first"
        )
    said = " ".join(str(cause).split()) or type(cause).__name__
    if isinstance(cause, errors.HfHubHTTPError):
        status = cause.response.status_code
        if status < 500:
            return _explain_refusal(status, cause.server_message)
        said = f"it answers with status {status}"  # its own words have addresses that are secret
    if not is_silence(error):
        return f"the Hub refuses it: {said}"
    return f"the Hub cannot be reached: {said}; try again, files that have arrived are kept"


def _explain_refusal(status: int, message: str | None) -> str:
    """What a status that blames the client means.

    Args:
        message: the Hub's own words.
    """
    said = f" ({shorten(message, WORDS, placeholder=' …')})" if message else ""
    if status == 401:
        return f"the Hub does not know the token of this login{said}; log in again with {LOG_IN}"
    if status == 403:
        return f"the Hub refuses this to this account{said}; log in with {LOG_IN} to another one"
    if status == 429:
        return "the Hub has had too many requests from here; wait some minutes, and try again"
    return f"the Hub refuses it with status {status}{said}"
