"""A small stand-in of the Hugging Face Hub: what its client asks to download a repository."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", "v1", COMMIT)
INFO = re.compile(r"^/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>[^/?]+))?$")
TREE = re.compile(r"^/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<revision>[^/?]+)(\?.*)?$")
FILE = re.compile(r"^/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)$")


@dataclass
class LocalHub:
    """Repositories by name, each the folder of its files.

    Attributes:
        url: where it listens.
        refused: repositories that are answered with a status and a code of the Hub's errors.
        broken: names of files in whose middle the connection is dropped.
        sent: the files that were asked for, in order.
    """

    url: str = ""
    repos: dict[str, Path] = field(default_factory=dict)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    sent: list[str] = field(default_factory=list)


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    """A hub that listens on a port of this machine while the block runs."""
    hub = LocalHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def _answer(self, *, with_body: bool) -> None:
        found = INFO.match(self.path) or TREE.match(self.path) or FILE.match(self.path)
        if found is None:
            return self._refuse(404, "EntryNotFound")
        if (repo := found["repo"]) in self.hub.refused:
            return self._refuse(*self.hub.refused[repo])
        if repo not in self.hub.repos:
            return self._refuse(401, "RepoNotFound")
        if (found["revision"] or "main") not in REVISIONS:
            return self._refuse(404, "RevisionNotFound")
        folder = self.hub.repos[repo]
        if found.re is FILE:
            return self._file(folder / found["path"], found["path"], with_body=with_body)
        if found.re is TREE:
            return self._json([_entry(path, folder) for path in _files(folder)])
        names = [{"rfilename": str(path.relative_to(folder))} for path in _files(folder)]
        return self._json({"id": repo, "sha": COMMIT, "siblings": names})

    def _file(self, path: Path, name: str, *, with_body: bool) -> None:
        if not path.is_file():
            return self._refuse(404, "EntryNotFound")
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("ETag", f'"{sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not with_body:
            return None
        self.hub.sent.append(name)
        if name in self.hub.broken:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return None
        self.wfile.write(content)
        return None

    def _json(self, content: object) -> None:
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _entry(path: Path, folder: Path) -> dict[str, object]:
    content = path.read_bytes()
    name = str(path.relative_to(folder))
    oid = sha1(content).hexdigest()
    return {"type": "file", "path": name, "size": len(content), "oid": oid}
