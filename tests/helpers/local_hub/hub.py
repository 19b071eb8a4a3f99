"""The state of the stand-in: repositories, who may do what, and what is to go wrong."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Literal

from local_hub.messages import Refused, Request
from local_hub.repositories import Repository

#: Who is logged in with it is `ann`.
TOKEN = "hf_secretOfAnnThatNobodyElseMaySee"


@dataclass
class Fault:
    """What goes wrong with the requests that match.

    Attributes:
        method: of the request.
        path: is searched in its path.
        status: of the refusal.
        code, message: of it, as the Hub's `X-Error-Code` and `X-Error-Message`.
        headers: of it.
        drop: instead of a refusal the connection is dropped: while the request is sent, or when
            all is done, in place of the answer.
        times: how often it happens; None is for ever.
    """

    method: str
    path: str
    status: int = 503
    code: str = ""
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    drop: Literal["request", "answer"] | None = None
    times: int | None = None

    def strikes(self, method: str, path: str) -> bool:
        """Whether it happens to this request, which is counted."""
        if self.method != method or not re.search(self.path, path) or self.times == 0:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass
class LocalHub:
    """What the stand-in holds and what it was asked.

    Attributes:
        url: where it listens.
        storage: where it lets large files be put and fetched: the same server by another name,
            which is to see no token.
        repos: repositories by name; a folder stands for one that holds its files.
        users: who shows a token, by token.
        readers: tokens that may not write.
        refused: repositories whose every request is answered with a status and a code.
        broken: names of files in whose middle the connection is dropped on the way down.
        faults: the first that strikes decides.
        part_bytes: larger LFS files are asked for in parts of this size.
        sent: the files that were asked for, in order.
        requests: all that came in, in order.
        lock: held while a request changes something.
    """

    url: str = ""
    storage: str = ""
    repos: dict[str, Path | Repository] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=lambda: {TOKEN: "ann"})
    readers: set[str] = field(default_factory=set)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    part_bytes: int | None = None
    sent: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def repository(self, name: str) -> Repository:
        """A repository by its name, whoever asks.

        Raises:
            KeyError: there is none.
        """
        found = self.repos[name]
        return Repository.of_folder(found) if isinstance(found, Path) else found

    def count(self, method: str, path: str) -> int:
        """How many requests came in whose path has `path` in it."""
        return sum(r.method == method and path in r.path for r in self.requests)

    def user(self, request: Request) -> str | None:
        """Who asks; None for anybody.

        Raises:
            Refused: the token is nobody's.
        """
        if request.token is None:
            return None
        if request.token not in self.users:
            raise Refused(401, message="Invalid credentials in Authorization header")
        return self.users[request.token]

    def may_write(self, request: Request, name: str) -> bool:
        """Whether who asks may write to a repository of this name."""
        return owner_of(name) == self.user(request) and request.token not in self.readers

    def readable(self, request: Request, name: str) -> Repository:
        """The repository, where who asks may know of it.

        Raises:
            Refused: there is none, or it is another's private one.
        """
        if name in self.refused:
            raise Refused(*self.refused[name])
        owns = owner_of(name) == self.user(request)
        if name not in self.repos or (self.repository(name).private and not owns):
            raise Refused(401 if request.token is None else 404, "RepoNotFound")
        return self.repository(name)

    def writable(self, request: Request, name: str) -> Repository:
        """The repository, where who asks may write to it.

        Raises:
            Refused: it is not to be read or written, or is a folder.
        """
        repository = self.readable(request, name)
        if not self.may_write(request, name) or isinstance(self.repos[name], Path):
            raise Refused(403, message="You don't have the required permissions to write here")
        return repository


def owner_of(name: str) -> str:
    """The user, or organization, that a repository's name begins with."""
    return name.partition("/")[0]
