"""Answers `/livez`, `/readyz` and `/metrics` over HTTP, by threads of its own.

It only gives: a question has a method and a path, what else it brings is passed over. Who asks is held to a few
kilobytes within a few seconds, and few ask at once; all others are hung up on, and the controller goes on.
"""

from __future__ import annotations

import io
import socket
import time
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from socketserver import TCPServer, ThreadingMixIn
from threading import BoundedSemaphore, Thread
from typing import TYPE_CHECKING, Any

from reconciler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.controller.health import Answer, Health
    from reconciler.model.events import Level

LARGEST = 8192
"""Bytes of a question."""
PATIENCE = 5.0
"""Seconds in which a question must be there, and its answer taken."""
AT_ONCE = 16
METRICS = "text/plain; version=0.0.4; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"


class _Handler(BaseHTTPRequestHandler):
    """One question."""

    server: _Server
    server_version, sys_version = "updoser", ""

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(io.BytesIO(_question(self.connection)))
        self.connection.settimeout(PATIENCE)

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(2 * LARGEST)
        if self.raw_requestline and self.parse_request():
            if self.command in {"GET", "HEAD"}:
                self._answer(self.path.partition("?")[0])
            else:
                self._give(HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD only\n", PLAIN, Allow="GET, HEAD")

    def _answer(self, path: str) -> None:
        health = self.server.health
        if path == "/metrics":
            self._give(HTTPStatus.OK, health.metrics(), METRICS)
        elif path == "/livez":
            self._tell(health.alive())
        elif path == "/readyz":
            self._tell(health.ready())
        else:
            self._give(HTTPStatus.NOT_FOUND, "there are /livez, /readyz and /metrics\n", PLAIN)

    def _tell(self, answer: Answer) -> None:
        status = HTTPStatus.OK if answer.good else HTTPStatus.SERVICE_UNAVAILABLE
        self._give(status, f"{'ok' if answer.good else 'not ok'}: {answer.text}\n", PLAIN)

    def _give(self, status: HTTPStatus, text: str, kind: str, **headers: str) -> None:
        body = text.encode()
        self.send_response(status)
        shared = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
        for name, value in (shared | headers).items():
            self.send_header(name, value)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the library names it
        """Say nothing: who asks has the answer."""


def _question(connection: socket.socket) -> bytes:
    """Read a question to the end of its head; empty where it isn't there in time, or is too large."""
    until, read = time.monotonic() + PATIENCE, b""
    while b"\r\n\r\n" not in read and b"\n\n" not in read:
        left = until - time.monotonic()
        if left <= 0 or len(read) > LARGEST:
            return b""
        connection.settimeout(left)
        try:
            more = connection.recv(LARGEST)
        except OSError:
            return b""
        if not more:
            return b""
        read += more
    return read


class _Server(ThreadingMixIn, TCPServer):
    """Answers each question in a thread, and ends without waiting for them."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, family: socket.AddressFamily, address: Any, health: Health) -> None:
        self.address_family = family
        self.health = health
        self._room = BoundedSemaphore(AT_ONCE)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread is left
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over who hung up, or what this machine lacks for the moment."""


@contextmanager
def answering(host: str, port: int, health: Health, say: Callable[[str, Level], None]) -> Iterator[None]:
    """Answer for the time of the block, and say where; port 0 takes a free one.

    Raises:
        UsageError: it can't be listened there.
    """
    try:
        family, _kind, _protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        server = _Server(family, address, health)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"--listen {host}:{port}: it can't be listened there: {why}", hint="name another address or port"
        ) from error
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="health", daemon=True)
    thread.start()
    try:
        at, number = server.socket.getsockname()[:2]
        say(f"health and metrics: http://{f'[{at}]' if ':' in at else at}:{number}/metrics", "info")
        if not ip_address(at.partition("%")[0]).is_loopback:
            say(f"--listen {host}: whoever reaches this machine may read how the fleet stands", "warning")
        yield
    finally:
        server.shutdown()
        server.server_close()
