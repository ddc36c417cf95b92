"""A relay's web server as clients may meet it: good, broken off, or evil, by the first word of the path.

- good: gives a part as it is, also from its middle (Range)
- whole: gives it as it is, always from its beginning
- cut: gives half of it, and hangs up; the second time all of it, as `good`
- wrong, short: gives other bytes, or half of it as if that were all
- endless, slow: gives bytes for ever, or one now and then
- moved: says that it is elsewhere
- missing: has nothing
- turning: is `good` to the first, and then what the server is told to turn to
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class RelayServer(ThreadingHTTPServer):
    """Serves parts by their digests; `asked` has the paths in the order in which they were asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.good, self.then = 1, "wrong"
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), _Handler)

    def url(self, way: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{way}"

    def give(self, *contents: bytes) -> None:
        self.parts |= {hashlib.sha256(content).hexdigest(): content for content in contents}

    def handle_error(self, request: Any, client_address: Any) -> None:  # who is evil breaks connections
        del request, client_address


class _Handler(BaseHTTPRequestHandler):
    server: RelayServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        self.server.asked.append(self.path)
        _, way, name = self.path.split("/")
        content = self.server.parts.get(name)
        if content is None or way == "missing":
            self.send_error(404)
        else:
            getattr(self, f"_{way}")(content, self.server.asked.count(self.path))

    def _good(self, content: bytes, _times: int) -> None:
        begin = self.headers.get("Range", "").removeprefix("bytes=").partition("-")[0]
        if not begin:
            self._send(content)
        elif int(begin) >= len(content):
            self.send_error(416)
        else:
            self._send(
                content[int(begin) :], 206, {"Content-Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}
            )

    def _whole(self, content: bytes, _times: int) -> None:
        self._send(content)

    def _cut(self, content: bytes, times: int) -> None:
        if times > 1:
            self._good(content, times)
        else:
            self._head(200, len(content))
            self.wfile.write(content[: len(content) // 2])

    def _turning(self, content: bytes, times: int) -> None:
        self.server.good -= 1
        getattr(self, "_good" if self.server.good >= 0 else f"_{self.server.then}")(content, times)

    def _wrong(self, content: bytes, _times: int) -> None:
        self._send(bytes(byte ^ 1 for byte in content))

    def _short(self, content: bytes, _times: int) -> None:
        self._send(content[: len(content) // 2])

    def _endless(self, content: bytes, _times: int) -> None:
        self._head(200, None)
        with suppress(OSError):
            while not self.server.over.is_set():
                self.wfile.write(content)

    def _slow(self, content: bytes, _times: int) -> None:
        self._head(200, len(content))
        with suppress(OSError):
            for byte in content:
                self.wfile.write(bytes([byte]))
                if self.server.over.wait(0.2):
                    return

    def _moved(self, content: bytes, _times: int) -> None:
        del content
        self._head(302, 0, {"Location": self.path.replace("/moved/", "/good/")})

    def _send(self, content: bytes, status: int = 200, more: dict[str, str] | None = None) -> None:
        self._head(status, len(content), more)
        self.wfile.write(content)

    def _head(self, status: int, length: int | None, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (more or {}).items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()


@contextmanager
def relay_server() -> Iterator[RelayServer]:
    """Run one on loopback for the time of the block."""
    with RelayServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()
