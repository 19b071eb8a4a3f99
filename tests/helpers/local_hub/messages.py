"""What comes in and what goes out."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """What the client asked.

    Attributes:
        method: GET, HEAD, POST or PUT.
        path: as it was sent, without the query.
        query: of the address.
        token: that it showed.
        body: what it sent.
    """

    method: str
    path: str
    query: dict[str, str]
    token: str | None
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What the client is told.

    Attributes:
        broken: whether the connection is dropped in the middle of the body.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    broken: bool = False

    @classmethod
    def of(cls, content: object, status: int = 200) -> "Answer":
        """JSON."""
        return cls(status, json.dumps(content).encode(), {"Content-Type": "application/json"})


class Refused(Exception):  # noqa: N818 (an answer, no error)
    """Ends a request with a status and one of the codes of the Hub's errors."""

    def __init__(
        self, status: int, code: str = "", message: str = "", *, commit: str | None = None
    ) -> None:
        super().__init__(message or code)
        self.status, self.code, self.message, self.commit = status, code, message, commit

    def answer(self) -> Answer:
        """As the Hub sends it."""
        headers = {"Content-Type": "application/json"}
        if self.code:
            headers["X-Error-Code"] = self.code
        if self.commit:
            headers["X-Repo-Commit"] = self.commit
        if self.message:
            headers["X-Error-Message"] = self.message
        body = json.dumps({"error": self.message or self.code}).encode()
        return Answer(self.status, body, headers)
