"""What the stand-in answers who only reads."""

from local_hub.hub import LocalHub
from local_hub.messages import Answer, Refused, Request
from local_hub.repositories import Commit, File, Repository, card_data


def whoami(hub: LocalHub, request: Request) -> Answer:
    """Whose token it is."""
    user = hub.user(request)
    if user is None:
        raise Refused(401, message="Invalid username or password.")
    return Answer.of({"type": "user", "name": user, "orgs": []})


def info(hub: LocalHub, request: Request, repo: str, revision: str | None = None) -> Answer:
    """A repository's files, visibility and card."""
    repository = hub.readable(request, repo)
    commit = find_commit(repository, revision)
    blobs = "blobs" in request.query
    told = {
        "id": repo,
        "sha": commit.oid,
        "private": repository.private,
        "gated": "manual" if repository.gated else False,
        "tags": [],
        "cardData": card_data(commit),
        "siblings": [_sibling(path, f, blobs) for path, f in sorted(commit.files.items())],
    }
    return Answer.of(told)


def tree(hub: LocalHub, request: Request, repo: str, revision: str, folder: str = "") -> Answer:
    """The files below a folder."""
    commit = find_commit(hub.readable(request, repo), revision)
    prefix = f"{folder}/" if folder else ""
    found = {path: file for path, file in commit.files.items() if path.startswith(prefix)}
    if folder and not found:
        raise Refused(404, "EntryNotFound")
    return Answer.of([_entry(path, file) for path, file in sorted(found.items())])


def refs(hub: LocalHub, request: Request, repo: str) -> Answer:
    """Branches and tags."""
    repository = hub.readable(request, repo)
    told = {"converts": [], "branches": [], "tags": []}
    for key, named in (("branches", repository.branches), ("tags", repository.tags)):
        for name, oid in named.items():
            told[key].append({"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid})
    return Answer.of(told)


def resolve(hub: LocalHub, request: Request, repo: str, revision: str, path: str) -> Answer:
    """A file, or where the storage has it."""
    repository = hub.readable(request, repo)
    if repository.gated and not hub.may_write(request, repo):
        raise Refused(401 if request.token is None else 403, "GatedRepo")
    commit = find_commit(repository, revision)
    if path not in commit.files:
        raise Refused(404, "EntryNotFound", commit=commit.oid)
    file = commit.files[path]
    headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.blob_id}"'}
    if not file.lfs:
        return _content(hub, request, path, file.content, headers)
    headers |= {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
    at = f"{hub.storage}/storage/{repo}/{commit.oid}/{path}"
    return Answer(302, headers=headers | {"Location": at})


def fetch(hub: LocalHub, request: Request, repo: str, revision: str, path: str) -> Answer:
    """A large file from the storage, whose addresses are a secret of their own."""
    if request.token is not None:
        raise Refused(400, message="the token left the Hub")
    content = hub.repository(repo).commits[revision].files[path].content
    return _content(hub, request, path, content, {})


def find_commit(repository: Repository, revision: str | None) -> Commit:
    """The commit of a revision.

    Raises:
        Refused: there is no such revision.
    """
    commit = repository.find(revision)
    if commit is None:
        raise Refused(404, "RevisionNotFound")
    return commit


def _content(
    hub: LocalHub, request: Request, path: str, content: bytes, headers: dict[str, str]
) -> Answer:
    if request.method == "GET":
        hub.sent.append(path)
    return Answer(200, content, headers, broken=path in hub.broken)


def _sibling(path: str, file: File, blobs: bool) -> dict[str, object]:
    told: dict[str, object] = {"rfilename": path}
    if blobs:
        told |= {"size": len(file.content), "blobId": file.blob_id}
        if file.lfs:
            told["lfs"] = {"sha256": file.sha256} | _sizes(file)
    return told


def _entry(path: str, file: File) -> dict[str, object]:
    told: dict[str, object] = {"type": "file", "path": path, "size": len(file.content)}
    told["oid"] = file.blob_id
    if file.lfs:
        told["lfs"] = {"oid": file.sha256} | _sizes(file)
    return told


def _sizes(file: File) -> dict[str, object]:
    return {"size": len(file.content), "pointerSize": len(file.pointer)}
