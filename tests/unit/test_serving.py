"""The server of the console on real sockets: slow clients, streams that are open when it ends, and certificates."""

import asyncio
import gc
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from reconciler.console import app as application
from reconciler.console import serving
from reconciler.console.frame import Console
from reconciler.console.guard import bounds
from reconciler.console.serving import Listening, Secured, listen, serve
from reconciler.console.sign_in.access import Access
from reconciler.errors import UsageError
from reconciler.model.console import ConsoleSpec, Tls
from reconciler.storage.state import State
from tests.console import NOW
from tests.waiting import PATIENCE, until

LIVEZ = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path_factory.mktemp('serving')}/state.db", clock=lambda: NOW) as state:
        yield state


class Served:
    """A server that runs in a thread."""

    def __init__(self, place: Listening, end: threading.Event, thread: threading.Thread) -> None:
        self.place = place
        self._end = end
        self._thread = thread

    def connect(self) -> socket.socket:
        return socket.create_connection((self.place.host, self.place.port), PATIENCE)

    def ask(self, sent: bytes) -> bytes:
        """Send bytes, and give all that comes until the other closes."""
        with self.connect() as wire:
            wire.sendall(sent)
            return everything(wire)

    def end(self) -> None:
        self._end.set()

    def ended(self) -> bool:
        return not self._thread.is_alive()


def everything(wire: socket.socket) -> bytes:
    parts: list[bytes] = []
    while True:
        try:
            part = wire.recv(65536)
        except ConnectionResetError:
            part = b""
        if not part:
            return b"".join(parts)
        parts.append(part)


@contextmanager
def served(state: State, spec: ConsoleSpec | None = None, secured: Secured | None = None) -> Iterator[Served]:
    spec = spec or ConsoleSpec()
    access = Access(spec=spec, state=state, clock=lambda: NOW, say=lambda _text: None, owner="root")
    end, place = threading.Event(), listen("127.0.0.1", 0, spec)
    arguments = (Console(state, lambda: NOW), access, place, secured, end.is_set)
    thread = threading.Thread(target=serve, args=arguments)
    thread.start()
    try:
        yield Served(place, end, thread)
    finally:
        end.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have an address that never ends what it says; gives what becomes of those who ask there."""
    became: list[str] = []

    async def say() -> AsyncIterator[str]:
        try:
            while True:
                yield ": still here\n\n"
                await asyncio.sleep(0.05)
        finally:
            became.append("left")

    async def stream(_request: Any) -> StreamingResponse:
        return StreamingResponse(say(), media_type="text/event-stream")

    routes = (*application.ROUTES, Route("/sign-in/stream", stream))
    monkeypatch.setattr(application, "ROUTES", routes)
    return became


def open_stream(server: Served) -> socket.socket:
    wire = server.connect()
    wire.sendall(b"GET /sign-in/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"still here" in until(lambda: peeked(wire))
    return wire


def peeked(wire: socket.socket) -> bytes:
    said = wire.recv(65536, socket.MSG_PEEK)
    return said if b"still here" in said else b""


def test_who_waits_for_what_never_ends_is_hung_up_on_when_the_server_ends(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    async def never(_request: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(application, "ROUTES", (*application.ROUTES, Route("/sign-in/never", never)))
    monkeypatch.setattr(serving, "_END", 0.1)
    with served(state) as server, server.connect() as wire:
        wire.sendall(b"GET /sign-in/never HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(begun.is_set)
        server.end()
        everything(wire)
        until(server.ended)
    gc.collect()  # a socket that nobody closed would be told of here


def test_a_stream_that_is_open_ends_whole_when_the_server_does(state: State, stream: list[str]) -> None:
    with served(state) as server, open_stream(server) as wire:
        server.end()
        assert everything(wire).endswith(b"0\r\n\r\n")  # it is complete, not broken off
        until(server.ended)
    assert stream == ["left"]


def test_a_stream_ends_here_when_who_reads_it_leaves(state: State, stream: list[str]) -> None:
    with served(state) as server:
        open_stream(server).close()
        until(lambda: stream == ["left"])


def test_who_never_says_what_they_want_is_hung_up_on(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    async def once(_request: Any) -> PlainTextResponse:
        monkeypatch.setattr(serving, "HEAD_PATIENCE", 0.2)
        return PlainTextResponse("once")

    monkeypatch.setattr(application, "ROUTES", (*application.ROUTES, Route("/sign-in/once", once)))
    monkeypatch.setattr(serving, "HEAD_PATIENCE", 0.2)
    with served(state) as server:
        for sent in (b"", b"GET / HTTP/1.1\r\nHost: local"):
            with server.connect() as wire:
                wire.sendall(sent)
                assert everything(wire) == b""
        monkeypatch.setattr(serving, "HEAD_PATIENCE", PATIENCE)
        with server.connect() as wire:  # and so is who says it once, and begins again
            wire.sendall(b"GET /sign-in/once HTTP/1.1\r\nHost: localhost\r\n\r\nGET /livez HT")
            assert everything(wire).count(b"HTTP/1.1 200") == 1


def test_who_sends_a_body_too_slowly_is_told_so(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds.Bounds.__init__, "__defaults__", (0.2,))
    with served(state) as server:
        said = server.ask(b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nlink=")
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b"that took too long" in said


def test_who_takes_nothing_of_what_is_sent_is_hung_up_on(
    state: State, stream: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Much(StreamingResponse):
        async def __call__(self, *both: Any) -> None:
            try:
                await super().__call__(*both)
            finally:
                stream.append("cut")

    async def without_end() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    async def much(_request: Any) -> Much:
        return Much(without_end())

    monkeypatch.setattr(application, "ROUTES", (*application.ROUTES, Route("/sign-in/much", much)))
    monkeypatch.setattr(serving, "WRITE_PATIENCE", 0.2)
    with served(state) as server, server.connect() as wire:
        wire.sendall(b"GET /sign-in/much HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: stream == ["cut"])


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_the_next_one_answered(state: State, sent: bytes) -> None:
    with served(state) as server:
        assert server.ask(sent)[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 421", b"HTTP/1.1 431"}
        assert b"\r\n\r\nok\n" in server.ask(LIVEZ)


def test_a_body_in_pieces_is_measured_too(state: State) -> None:
    piece = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    head = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with served(state) as server:
        assert server.ask(head + 3 * piece).startswith(b"HTTP/1.1 413 ")


def test_no_more_than_so_many_are_served_at_once(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "CONNECTIONS", 3)
    with served(state) as server, ExitStack() as stack:
        for _number in range(3):
            stack.enter_context(server.connect())
        assert b"503" in until(lambda: said if b" 503 " in (said := server.ask(LIVEZ)) else b"")


def test_it_says_neither_what_it_is_made_of_nor_takes_another_language(state: State) -> None:
    with served(state) as server:
        said = server.ask(LIVEZ.replace(b"Connection: close", b"Connection: close, upgrade\r\nUpgrade: websocket"))
        assert b"server:" not in said.lower()
        assert said.startswith(b"HTTP/1.1 200")


# --- certificates -----------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str, *more: str) -> Tls:
    """Make a self-signed certificate for localhost."""
    key, made = folder / f"{name}.key", folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(made)]
    subprocess.run(
        [*command, *names, *files, *(more or ("-nodes",))], check=True, capture_output=True, timeout=PATIENCE
    )
    return Tls(certificate=made, key=key)


def shown_by(server: Served, tls: Tls) -> str:
    """Give the name in the certificate that a server shows, which must be one of these."""
    context = ssl.create_default_context(cafile=tls.certificate)
    with server.connect() as plain, context.wrap_socket(plain, server_hostname="localhost") as wire:
        wire.sendall(LIVEZ)
        assert b"strict-transport-security" in everything(wire)
        found: Any = wire.getpeercert()
    return str(found["subject"][0][0][1])


@pytest.mark.needs("openssl")
def test_a_certificate_of_its_own_is_shown_and_read_again_when_it_is_renewed(state: State, tmp_path: Path) -> None:
    tls, other = certificate(tmp_path, "first"), certificate(tmp_path, "second")
    secured = Secured(tls)
    with served(state, ConsoleSpec(tls=tls), secured) as server:
        assert server.place.url.startswith("https://127.0.0.1:")
        assert shown_by(server, tls) == "first"
        assert b"HTTP/1.1 200" not in server.ask(LIVEZ)  # nothing is said without TLS
        assert tls.certificate
        assert tls.key
        assert other.certificate
        assert other.key
        tls.certificate.write_bytes(other.certificate.read_bytes())
        with pytest.raises(UsageError, match="can't be used"):
            secured.read()  # the key is that of the one before
        tls.key.write_bytes(other.key.read_bytes())
        secured.read()
        assert shown_by(server, tls) == "second"


@pytest.mark.needs("openssl")
def test_a_certificate_that_can_not_be_used_is_said_before_anybody_listens(tmp_path: Path) -> None:
    tls, other = certificate(tmp_path, "first"), certificate(tmp_path, "other")
    locked = certificate(tmp_path, "locked", "-passout", "pass:word")
    for wrong in (
        Tls(certificate=tmp_path / "none.pem", key=tls.key),
        Tls(certificate=tls.certificate, key=other.key),
        Tls(certificate=tls.key, key=tls.key),
        locked,
    ):
        with pytest.raises(UsageError, match="console.tls"):
            Secured(wrong)


def test_where_somebody_listens_already_is_said(state: State) -> None:
    with served(state) as server, pytest.raises(UsageError, match="it can't be listened there"):
        listen("127.0.0.1", server.place.port, ConsoleSpec())


def test_it_listens_at_both_kinds_of_addresses() -> None:
    for host, url in (("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")):
        place = listen(host, 0, ConsoleSpec())
        place.close()
        assert place.url.startswith(url)
        assert place.loopback
