"""What the stand-in does for who writes: repositories, branches, large files, commits."""

import json
from base64 import b64decode
from hashlib import sha256
from typing import Any

import yaml

from local_hub.hub import LocalHub, owner_of
from local_hub.messages import Answer, Refused, Request
from local_hub.reading import find_commit
from local_hub.repositories import FRONT_MATTER, File, Repository, goes_to_lfs


def create(hub: LocalHub, request: Request) -> Answer:
    """A new repository with the file that the Hub gives each."""
    asked = request.json()
    user = hub.user(request)
    name = f"{asked['organization'] or user}/{asked['name']}"
    if not hub.may_write(request, name):
        space = owner_of(name)
        message = f'You don\'t have the rights to create a model under the namespace "{space}"'
        raise Refused(403, message=message)
    if name in hub.repos:
        raise Refused(409, message="You already created this model repo")
    private = asked.get("visibility") == "private"
    hub.repos[name] = Repository.new({".gitattributes": b"*.bin filter=lfs\n"}, private=private)
    return Answer.of({"url": f"{hub.url}/{name}", "name": name})


def branch(hub: LocalHub, request: Request, repo: str, name: str) -> Answer:
    """A new branch."""
    repository = hub.writable(request, repo)
    if name.startswith("refs/"):
        raise Refused(400, message=f"Invalid reference for a branch: {name}")
    if name in repository.branches:
        raise Refused(409, message="Reference already exists")
    start = request.json().get("startingPoint")
    repository.branches[name] = find_commit(repository, start).oid
    return Answer.of({})


def validate_card(hub: LocalHub, request: Request) -> Answer:
    """Whether a card's YAML can be read."""
    del hub
    found = FRONT_MATTER.match(request.json()["content"])
    try:
        good = found is not None and isinstance(yaml.safe_load(found[1]), dict)
    except yaml.YAMLError:
        good = False
    errors = [] if good else [{"message": "the card's YAML cannot be read"}]
    return Answer.of({"errors": errors, "warnings": []}, 200 if good else 400)


def preupload(hub: LocalHub, request: Request, repo: str, revision: str) -> Answer:
    """Which files are to go to LFS."""
    commit = find_commit(hub.writable(request, repo), revision)
    told = []
    for asked in request.json()["files"]:
        path = asked["path"]
        lfs = goes_to_lfs(path, asked["size"])
        told.append({"path": path, "uploadMode": "lfs" if lfs else "regular"})
        held = commit.files.get(path)
        oid = None if held is None else (held.sha256 if held.lfs else held.blob_id)
        told[-1] |= {"shouldIgnore": False, "oid": oid}
    return Answer.of({"files": told, "commitOid": commit.oid})


def batch(hub: LocalHub, request: Request, repo: str) -> Answer:
    """Where to put the large files that are not there yet."""
    held = hub.writable(request, repo).objects
    told = []
    for asked in request.json()["objects"]:
        oid, size = asked["oid"], asked["size"]
        told.append({"oid": oid, "size": size})
        if oid not in held:
            upload = _upload_action(hub, repo, oid, size)
            verify = {"href": f"{hub.url}/{repo}.git/info/lfs/objects/verify"}
            told[-1]["actions"] = {"upload": upload, "verify": verify}
    return Answer.of({"transfer": "basic", "objects": told})


def _upload_action(hub: LocalHub, repo: str, oid: str, size: int) -> dict[str, object]:
    at = f"{hub.storage}/put/{repo}/{oid}"
    if hub.part_bytes is None or size <= hub.part_bytes:
        return {"href": at}
    parts = range(1, -(-size // hub.part_bytes) + 1)
    header = {"chunk_size": str(hub.part_bytes)} | {str(n): f"{at}/{n}" for n in parts}
    return {"href": f"{hub.url}/complete/{repo}/{oid}", "header": header}


def put(hub: LocalHub, request: Request, repo: str, oid: str) -> Answer:
    """A large file, or under its number a part of one, arrives at the storage."""
    if request.token is not None:
        raise Refused(400, message="the token left the Hub")
    whole = "/" not in oid
    if whole and sha256(request.body).hexdigest() != oid:
        raise Refused(400, message="the content is not what was announced")
    hub.repository(repo).objects[oid] = request.body
    return Answer(200, headers={"ETag": f'"{sha256(request.body).hexdigest()}"'})


def complete(hub: LocalHub, request: Request, repo: str, oid: str) -> Answer:
    """The parts of a large file become one."""
    objects = hub.repository(repo).objects
    parts = [objects.pop(f"{oid}/{part['partNumber']}") for part in request.json()["parts"]]
    content = b"".join(parts)
    if sha256(content).hexdigest() != oid:
        raise Refused(400, message="the parts are not what was announced")
    objects[oid] = content
    return Answer.of({})


def verify(hub: LocalHub, request: Request, repo: str) -> Answer:
    """Whether a large file has arrived whole."""
    asked = request.json()
    held = hub.writable(request, repo).objects.get(asked["oid"])
    if held is None or len(held) != asked["size"]:
        raise Refused(404, message="no such object")
    return Answer.of({})


def commit(hub: LocalHub, request: Request, repo: str, revision: str) -> Answer:
    """All of a commit's changes, or none."""
    repository = hub.writable(request, repo)
    if revision not in repository.branches:
        raise Refused(404, "RevisionNotFound")
    before = find_commit(repository, revision)
    lines = [json.loads(line) for line in request.body.splitlines()]
    header = lines[0]["value"]
    if header.get("parentCommit", before.oid) != before.oid:
        raise Refused(412, message="A commit has happened since. Please refresh and try again.")
    files = dict(before.files)
    for line in lines[1:]:
        _change(repository, files, line["key"], line["value"])
    made = repository.commit(revision, files, header["summary"])
    url = f"{hub.url}/{repo}/commit/{made.oid}"
    return Answer.of({"success": True, "commitOid": made.oid, "commitUrl": url})


def _change(repository: Repository, files: dict[str, File], key: str, value: Any) -> None:
    path = value["path"]
    if key == "deletedFile":
        if files.pop(path, None) is None:
            raise Refused(404, "EntryNotFound", "A file with this name doesn't exist")
    elif key == "file":
        content = b64decode(value["content"])
        if goes_to_lfs(path, len(content)):
            raise Refused(400, message=f"{path} must be uploaded to LFS")
        files[path] = File(content, lfs=False)
    elif key == "lfsFile":
        if value["oid"] not in repository.objects:
            raise Refused(400, message=f"{path} points to a file that was not uploaded")
        files[path] = File(repository.objects[value["oid"]], lfs=True)
    else:
        raise Refused(400, message=f"unknown operation {key}")
