"""Pushing files to a repository of the Hugging Face Hub: one commit, or none."""

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import recllm
from recllm.errors import NetworkError, UserError
from recllm.hub.remote_files import same_content, size_of
from recllm.models.download import FILES, NOT_STORY, STORY, is_checkpoint_id
from recllm.models.hub_errors import LOG_IN, explain, explaining, find_hub_error, is_silence
from recllm.models.references import DESCRIPTION
from recllm.progress import progress

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.hf_api import ModelInfo

log = logging.getLogger(__name__)

#: What a repository may hold before the first push: the Hub's own file, and a card.
NOBODYS = {".gitattributes", "README.md"}
COMMIT_ID = re.compile(r"[0-9a-f]{40}")
#: Files from this size on are sent one by one, so that it shows how far the push is.
LARGE = 10_000_000
#: The Hub says so where another commit has come in between.
CONFLICT = 412


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        url: of the commit; None where the repository had all of it already.
        added: files that are new there, or have changed.
        unchanged: files that were there already.
        deleted: files of an earlier push that are none of this one.
        sent: bytes of the added files.
    """

    url: str | None
    added: tuple[str, ...]
    unchanged: tuple[str, ...]
    deleted: tuple[str, ...]
    sent: int


def require_repo_name(name: str) -> None:
    """Refuse what cannot be a repository's name.

    Raises:
        UserError: it is no user/name.
    """
    if "@" in name and is_checkpoint_id(name):
        repo, _, revision = name.partition("@")
        raise UserError(
            f"--repo {name}: give the branch apart: --repo {repo} --revision {revision}"
        )
    if not is_checkpoint_id(name):
        raise UserError(f"--repo {name}: expected user/name, your account on the Hub and a name")


def require_login() -> None:
    """Refuse to push without a login, or where the Hub is not to be asked.

    Raises:
        UserError: there is no token, or HF_HUB_OFFLINE is set.
    """
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise UserError("push: HF_HUB_OFFLINE is set, so that the Hub is not asked; unset it")
    if get_token() is None:
        raise UserError(f"push: there is no login to the Hub; log in with {LOG_IN}, and try again")


@dataclass(frozen=True)
class _Branch:
    """What is pushed to.

    Attributes:
        name: None for `main`.
        head: its last commit, with all that is known of its files.
    """

    api: "HfApi"
    repo: str
    name: str | None
    head: "ModelInfo"


def upload(
    files: Mapping[str, Path | bytes], repo: str, *, private: bool, revision: str | None
) -> Pushed:
    """Make a repository's branch hold these files, in one commit; only what differs is sent.

    The repository, and the branch, are made where there are none. Files of an earlier push that
    are none of these are deleted: weights that nobody means any more would be loaded. All others
    stay.

    Args:
        files: local files or contents by their paths in the repository.
        private: of a new repository; one that exists is left as it is.
        revision: a branch; None is `main`.

    Raises:
        UserError: there is no login, the Hub refuses it, the repository is another tool's, or
            somebody else has pushed meanwhile.
        NetworkError: the Hub cannot be reached. The branch is as it was, or, where the connection
            broke at the very end, has the whole commit.
    """
    from huggingface_hub import HfApi

    require_repo_name(repo)
    require_login()
    api = HfApi(library_name="recllm", library_version=recllm.__version__)
    with explaining(_asked(repo), repo, revision, unreachable=NetworkError):
        main = _open_repository(api, repo, private)
        branch = _open_branch(api, repo, revision, main)
    theirs = {sibling.rfilename: sibling for sibling in branch.head.siblings or []}
    unchanged = sorted(p for p in files if p in theirs and same_content(files[p], theirs[p]))
    added = {path: files[path] for path in sorted(files.keys() - set(unchanged))}
    deleted = sorted(path for path in theirs.keys() - files.keys() if _is_of_a_push(path))
    url = _commit(branch, added, deleted) if added or deleted else None
    sent = sum(map(size_of, added.values()))
    return Pushed(url, tuple(added), tuple(unchanged), tuple(deleted), sent)


def _asked(repo: str) -> str:
    return f"push to {repo}: "


def _is_of_a_push(path: str) -> bool:
    """Whether a file is of the kinds that are pushed: a checkpoint's, or of its story."""
    if any(fnmatch(path, pattern) for pattern in STORY):
        return not fnmatch(path, NOT_STORY[0])
    return any(fnmatch(path, pattern) for pattern in FILES) and "/" not in path


def _open_repository(api: "HfApi", repo: str, private: bool) -> "ModelInfo":
    """The last commit of a repository's `main`; a repository is made where there is none."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        info = api.model_info(repo, files_metadata=True)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        # None leaves it to what an organization has set for its new repositories.
        url = api.create_repo(repo, private=private or None)
        log.info("%s: a new repository", url)
        return api.model_info(repo, files_metadata=True)
    _require_ours(repo, info)
    if private and not info.private:
        log.warning("%s: --private is for a new repository; this one is public, and stays so", repo)
    return info


def _open_branch(api: "HfApi", repo: str, name: str | None, main: "ModelInfo") -> _Branch:
    """The branch of a name; it is made of `main` where there is none."""
    if name is None or name == "main":
        return _Branch(api, repo, None, main)
    refs = api.list_repo_refs(repo)
    if COMMIT_ID.fullmatch(name) or any(tag.name == name for tag in refs.tags):
        raise UserError(
            f"--revision {name}: expected a branch, but this is a tag or commit of {repo}, which "
            "stays as it is; give another name"
        )
    if all(branch.name != name for branch in refs.branches):
        api.create_branch(repo, branch=name, revision=main.sha)
        log.info("%s: a new branch %s", repo, name)
        return _Branch(api, repo, name, main)
    head = api.model_info(repo, revision=name, files_metadata=True)
    _require_ours(repo, head)
    return _Branch(api, repo, name, head)


def _require_ours(repo: str, info: "ModelInfo") -> None:
    """Refuse a repository with files that are no recllm checkpoint's.

    Raises:
        UserError: it holds such.
    """
    names = {sibling.rfilename for sibling in info.siblings or []}
    others = sorted(names - NOBODYS)
    if others and DESCRIPTION not in names:
        raise UserError(
            f"{_asked(repo)}expected a repository that is new, empty or a recllm checkpoint, found "
            f"one of another tool: {len(others)} file(s), such as {others[0]}, and no "
            f"{DESCRIPTION}; give another name"
        )


def _commit(branch: _Branch, added: Mapping[str, Path | bytes], deleted: list[str]) -> str:
    """Send the files and make the commit; its address."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    from huggingface_hub.errors import HTTPError

    sent = sum(map(size_of, added.values()))
    log.info("%s: sending %d file(s), %.1f MB", branch.repo, len(added), sent / 1e6)
    additions = [CommitOperationAdd(path, content) for path, content in added.items()]
    large = [addition for addition in additions if addition.upload_info.size >= LARGE]
    deletions = [CommitOperationDelete(path, is_folder=False) for path in deleted]
    try:
        with warnings.catch_warnings():
            # The catalogue is Parquet, and belongs to the model.
            warnings.filterwarnings("ignore", message="It seems that you are about to commit a da")
            _send(branch, large)
            made = branch.api.create_commit(
                branch.repo,
                [*additions, *deletions],
                commit_message=f"Push by recllm {recllm.__version__}",
                revision=branch.name,
                parent_commit=branch.head.sha,
            )
    # Threads of the client, and its library Xet, send large files and wrap what they raise in
    # RuntimeError; a card that the Hub cannot read is a ValueError.
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's
        raise _why_not(branch, error) from None
    return made.commit_url


def _send(branch: _Branch, large: "Sequence[CommitOperationAdd]") -> None:
    """Send large files ahead of the commit that will name them."""
    if not large:
        return
    with progress("sending, in MB", sum(_megabytes(addition) for addition in large)) as advance:
        for addition in large:
            branch.api.preupload_lfs_files(
                branch.repo, [addition], revision=branch.name, free_memory=False
            )
            advance(_megabytes(addition))


def _megabytes(addition: "CommitOperationAdd") -> int:
    return round(addition.upload_info.size / 1e6)


def _why_not(branch: _Branch, error: Exception) -> UserError | NetworkError:
    """What to raise where sending or committing failed."""
    cause = find_hub_error(error) or error
    response = getattr(cause, "response", None)
    if response is not None and response.status_code == CONFLICT:
        return UserError(
            f"{_asked(branch.repo)}somebody else has pushed there meanwhile; nothing was changed: "
            "look at what came in, and push again"
        )
    told = f"{_asked(branch.repo)}{explain(cause, branch.repo, branch.name)}"
    if not is_silence(cause):
        return UserError(f"{told}; nothing was changed there")
    return NetworkError(f"{told}. A push is one commit: the repository has all of it, or none")
