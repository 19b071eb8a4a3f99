"""The server: finds who answers a request, lets the faults strike, and sends the answer."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qsl, unquote, urlsplit

from local_hub import reading, writing
from local_hub.hub import Fault, LocalHub
from local_hub.messages import Answer, Refused, Request

REPO, REVISION = r"(?P<repo>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
#: By method and path as they are sent: a branch's slash is quoted, those of a file's path are not.
ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", r"/api/whoami-v2", reading.whoami),
    ("GET", rf"/api/models/{REPO}(/revision/{REVISION})?", reading.info),
    ("GET", rf"/api/models/{REPO}/tree/{REVISION}(/(?P<folder>.+))?", reading.tree),
    ("GET", rf"/api/models/{REPO}/refs", reading.refs),
    ("GET", rf"/storage/{REPO}/{REVISION}/(?P<path>.+)", reading.fetch),
    ("GET", rf"/{REPO}/resolve/{REVISION}/(?P<path>.+)", reading.resolve),
    ("POST", r"/api/repos/create", writing.create),
    ("POST", r"/api/validate-yaml", writing.validate_card),
    ("POST", rf"/api/models/{REPO}/branch/(?P<name>.+)", writing.branch),
    ("POST", rf"/api/models/{REPO}/preupload/{REVISION}", writing.preupload),
    ("POST", rf"/api/models/{REPO}/commit/{REVISION}", writing.commit),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/batch", writing.batch),
    ("POST", rf"/{REPO}\.git/info/lfs/objects/verify", writing.verify),
    ("PUT", rf"/put/{REPO}/(?P<oid>.+)", writing.put),
    ("POST", rf"/complete/{REPO}/(?P<oid>.+)", writing.complete),
]


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    """A hub that listens on a port of this machine while the block runs."""
    hub = LocalHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    hub.storage = f"http://localhost:{server.server_port}"
    # It looks that often, in seconds, whether it is to end.
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
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
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:
        del format, args

    def _serve(self) -> None:
        fault = self._fault()
        if fault and fault.drop == "request":
            self.rfile.read(int(self.headers.get("Content-Length") or 0) // 2)
            self.close_connection = True
            return
        request = self._request()
        self.hub.requests.append(request)
        if fault and not fault.drop:
            answer = Refused(fault.status, fault.code, fault.message).answer()
            answer.headers.update(fault.headers)
        else:
            answer = self._answer(request)
        if not fault or not fault.drop:
            self._send(answer)

    def _fault(self) -> Fault | None:
        with self.hub.lock:
            path = urlsplit(self.path).path
            return next((f for f in self.hub.faults if f.strikes(self.command, path)), None)

    def _request(self) -> Request:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        query = dict(parse_qsl(parts.query))
        return Request(self.command, parts.path, query, token, body)

    def _answer(self, request: Request) -> Answer:
        method = "GET" if request.method == "HEAD" else request.method
        for expected, path, answers in ROUTES:
            found = re.fullmatch(path, request.path)
            if expected == method and found:
                named = {k: unquote(v) for k, v in found.groupdict().items() if v is not None}
                try:
                    with self.hub.lock:
                        return answers(self.hub, request, **named)
                except Refused as refused:
                    return refused.answer()
        return Refused(404, "EntryNotFound").answer()

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if answer.broken:
            self.wfile.write(answer.body[: len(answer.body) // 2])
            self.close_connection = True
            return
        self.wfile.write(answer.body)
