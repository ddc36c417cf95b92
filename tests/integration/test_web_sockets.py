"""No answer keeps its socket: each is closed at once, and isn't left to the collector, whatever comes of it.

An error is held in each test: as long as it lives, so do the frames that it went through, and what they had.
"""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.errors import SourceError
from reconciler.plugins.source._tuf.ngclient import fetcher
from reconciler.web import stream
from reconciler.web.connections import HttpOptions
from reconciler.web.files import HttpFiles, files_at
from reconciler.web.web import Web
from tests.attacks.hostile_source import OK, Server, says
from tests.fakes import fake_context

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

OPTIONS = HttpOptions(family="any", connect=30, read=30, total=600)
ENDLESS = b"Content-Length: 999999\r\n\r\n{"
"""The end of a head, and the beginning of a body whose rest doesn't come before somebody hangs up."""
CLOSING = b"Connection: close\r\n"


class Wired:
    """A server that answers whatever it is asked with the same bytes, and the sockets of who asks it."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.server = server
        context = fake_context(folder)
        self._dial = context.dial
        self.context = replace(context, dial=self._connect)
        self.opened: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{server.port}"

    def _connect(self, *args: Any, **options: Any) -> socket.socket:
        self.opened.append(self._dial(*args, **options))
        return self.opened[-1]

    def left_open(self) -> int:
        assert self.opened, "somebody connected"
        return sum(connection.fileno() != -1 for connection in self.opened)


@pytest.fixture(autouse=True)
def nobody_collects(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(stream, "TRIES", 1)
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def answering(folder: Path, answer: bytes) -> Wired:
    def serve(wire: Any) -> None:
        if wire.head():
            says(answer)(wire, b"")
            wire.wait()

    return Wired(folder, Server(serve))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\n" + ENDLESS, "HTTP 404"),
        (b"HTTP/1.1 503 Busy\r\n" + CLOSING + ENDLESS, "HTTP 503"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP 304"),
        (b"HTTP/1.1 302 Found\r\nLocation: file:///x\r\n" + ENDLESS, "isn't followed"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n" + CLOSING + ENDLESS, "no address"),
        (b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\n" + ENDLESS, "another part"),
        (OK + b"Content-Encoding: gzip\r\n" + ENDLESS, "packed it"),
        (OK + CLOSING + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{", "Content-Length"),
        (OK + CLOSING + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{", "IncompleteRead"),
        (OK + CLOSING + ENDLESS[:-1] + b"x" * 100, "more than 9 bytes"),
    ],
)  # fmt: skip
def test_an_answer_that_is_of_no_use_is_closed(tmp_path: Path, answer: bytes, words: str) -> None:
    wired = answering(tmp_path, answer)
    with wired.server, pytest.raises(SourceError, match=words) as held:
        Web(wired.url, OPTIONS, wired.context).get("file", limit=9)
    assert (wired.left_open(), held.tb is None) == (0, False)


@pytest.mark.parametrize("closing", [CLOSING, b""])
def test_an_answer_is_closed_of_which_only_the_head_or_the_beginning_is_wanted(tmp_path: Path, closing: bytes) -> None:
    wired = answering(tmp_path, OK + closing + ENDLESS)
    with wired.server:
        web = Web(wired.url, OPTIONS, wired.context)
        assert web.head("file").size == 999999
        assert web.get("file", limit=9, first=1).body == b"{"
    assert wired.left_open() == 0


def test_a_file_that_fails_while_it_is_read_is_closed_by_that(tmp_path: Path) -> None:
    wired = answering(tmp_path, OK + CLOSING + ENDLESS)
    with wired.server:
        dropped = files_at(wired.url, replace(OPTIONS, total=0), wired.context).open("file")
        with pytest.raises(SourceError, match="wasn't complete"):
            dropped.read(9)
        assert (wired.left_open(), dropped.closed) == (0, False)


@pytest.mark.parametrize(
    ("answer", "total", "words"),
    [
        (OK + CLOSING + ENDLESS + b"}" * 99, 600, "exceeding"),
        (OK + CLOSING + b"Content-Length: 9999\r\n\r\n<html>", 600, "a page|no JSON|begins with"),
        (OK + CLOSING + ENDLESS, 0, "wasn't complete"),
        (b"HTTP/1.1 404 Not Found\r\n" + CLOSING + ENDLESS, 600, "404"),
    ],
)
def test_metadata_that_is_refused_is_closed(tmp_path: Path, answer: bytes, total: float, words: str) -> None:
    from tuf.api.exceptions import DownloadError

    wired = answering(tmp_path, answer)
    with wired.server:
        files = files_at(wired.url, replace(OPTIONS, total=total), wired.context)
        assert isinstance(files, HttpFiles)
        with pytest.raises(DownloadError, match=words) as held:
            fetcher(files, wired.url).download_bytes("timestamp.json", 9)
        assert (wired.left_open(), held.tb is None) == (0, False)


def opened() -> int:
    return sum(1 for _each in Path("/proc/self/fd").iterdir())


def test_a_folder_in_place_of_a_file_is_not_left_open(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    files = files_at(tmp_path.as_uri(), OPTIONS, fake_context(tmp_path))
    before = opened()
    with pytest.raises(SourceError, match="is no file"):
        files.open("there")
    assert opened() == before
