"""Serves the console over HTTP: where it listens, what a connection may cost, and how it ends.

One process, one loop, and few threads that read the state. A connection that says or takes nothing for long is cut, as
nobody waits for it; so many may be open at once, and who comes then is told to come again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol

from reconciler.console.app import make_app
from reconciler.console.guard.bounds import LARGEST_HEAD, Bounds
from reconciler.console.guard.gate import Gate
from reconciler.console.guard.headers import Headers
from reconciler.console.guard.hosts import Hosts
from reconciler.console.live import live_of
from reconciler.errors import UsageError, words_of
from reconciler.model.network import is_this_machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from starlette.types import ASGIApp
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

    from reconciler.console.frame import Console
    from reconciler.console.live import Live
    from reconciler.console.sign_in.access import Access
    from reconciler.model.console import ConsoleSpec, Tls

THREADS = 8
"""Requests that read the state at once; the state has fifteen connections for all."""
CONNECTIONS = 256
HEAD_PATIENCE = 15.0
"""Seconds in which a head must be there, and in which what was sent last must be taken."""
WRITE_PATIENCE = 30.0
"""Seconds for which somebody may take nothing of what is sent."""
_KEPT = 5
_LOG = logging.getLogger("updoser.console")
_END = 3
"""Seconds for requests under way when the server ends."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where it listens, as others reach it."""

    sockets: tuple[socket.socket, ...]
    host: str
    port: int
    secure: bool

    @property
    def loopback(self) -> bool:
        """True when only this machine reaches it."""
        return is_this_machine(self.host)

    def close(self) -> None:
        """Listen no more."""
        for listener in self.sockets:
            listener.close()

    @property
    def url(self) -> str:
        """The address, for who is on this machine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.secure else ''}://{host}:{self.port}"


def listen(host: str, port: int, spec: ConsoleSpec) -> Listening:
    """Take a place to listen at; port 0 is a free one.

    Raises:
        UsageError: it can't be listened there, or what is said there would be open to others.
    """
    try:
        family, kind, number, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        at = str(address[0]).partition("%")[0]
        check_exposure(at, spec)
        listener = socket.socket(family, kind, number)
    except (OSError, UnicodeError) as error:
        raise _cannot(host, port, error) from error
    try:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise _cannot(host, port, error) from error
    return Listening((listener,), at, listener.getsockname()[1], spec.tls.certificate is not None)


def _cannot(host: str, port: int, error: OSError | UnicodeError) -> UsageError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return UsageError(f"--listen {host}:{port}: it can't be listened there: {why}", hint="name another address or port")


def check_exposure(at: str, spec: ConsoleSpec) -> None:
    """Refuse to listen where others could read along, or nobody could sign in.

    Raises:
        UsageError: so it is.
    """
    if is_this_machine(at):
        return
    if spec.tls.certificate is None and not spec.tls.proxies:
        raise UsageError(
            f"--listen {at}: others than this machine reach that, and what is said there would be open to all",
            hint="set `console.tls`: a certificate, or the proxies before it that speak TLS; or listen on 127.0.0.1",
        )
    if not (spec.oidc or spec.header or spec.tokens):
        raise UsageError(
            f"--listen {at}: nobody could sign in there",
            hint="set `console.sign_in`: the link that is shown at the start is for this machine only",
        )
    if not (spec.public_url or spec.hosts):
        raise UsageError(
            f"--listen {at}: it answers only to names that it has",
            hint="set `console.public_url` to where people find it, such as https://updoser.example.org",
        )


def guarded(app: ASGIApp, access: Access, closing: asyncio.Event, *, loopback: bool) -> ASGIApp:
    """Put all that guards it before an application; `loopback`: it listens on this machine only."""
    gate = Gate(app, access)
    return Bounds(Headers(Hosts(gate, access.spec, loopback=loopback)), closing)


class Secured:
    """The certificate of the server, which can be read again while it runs."""

    def __init__(self, tls: Tls) -> None:
        """Read it.

        Raises:
            UsageError: it can't be.
        """
        self._tls = tls
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self.read()

    def read(self) -> None:
        """Read it again; connections that are open keep the one before.

        Raises:
            UsageError: it can't be read, or its key is that of another one.
        """
        assert self._tls.certificate is not None
        try:
            # One that isn't whole would have taken the place of the one before.
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                self._tls.certificate, self._tls.key, password=_no_password
            )
            self.context.load_cert_chain(self._tls.certificate, self._tls.key, password=_no_password)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UsageError(
                f"console.tls: {self._tls.certificate} and its key {self._tls.key} can't be used: {why}",
                hint="both are PEM files, and the key has no password",
            ) from error


def _no_password() -> str:
    raise ValueError("the key has a password")


class _Connection(H11Protocol):
    """A connection that is cut where somebody is slow on purpose."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._reads = self._writes = self.loop.call_later(HEAD_PATIENCE, self._cut_idle)

    def on_response_complete(self) -> None:
        self._reads.cancel()
        self._reads = self.loop.call_later(HEAD_PATIENCE, self._cut_idle)
        super().on_response_complete()

    def _cut_idle(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writes = self.loop.call_later(WRITE_PATIENCE, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._writes.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        self._reads.cancel()
        self._writes.cancel()
        super().connection_lost(exc)


class _Server(Server):
    """A server that asks, some times a second, whether it is to end; signals are heard by who started it."""

    def __init__(self, config: Config, live: Live, closing: asyncio.Event, ends: Callable[[], bool]) -> None:
        super().__init__(config)
        self._live = live
        self._closing = closing
        self._ends = ends

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()

    async def on_tick(self, counter: int) -> bool:
        if self._ends():
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._live.end()
        self._closing.set()
        await super().shutdown(sockets)
        for left in list(self.server_state.connections):  # whose request didn't end in time
            left.transport.abort()
        await asyncio.sleep(0)  # transports let go of their sockets in the next turn of the loop


def serve(
    console: Console, access: Access, place: Listening, secured: Secured | None, ends: Callable[[], bool]
) -> None:
    """Serve until `ends` says so, which is asked some times a second; streams that are open end at once."""
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # what it says is of those who ask, and for nobody here
    asyncio.run(_serve(console, access, place, secured, ends))


def _tell(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tell what went wrong where nobody waits for it, in a line."""
    error = context.get("exception")
    _LOG.error("%s%s", context["message"], f": {words_of(error)}" if error is not None else "")


async def _serve(
    console: Console, access: Access, place: Listening, secured: Secured | None, ends: Callable[[], bool]
) -> None:
    asyncio.get_running_loop().set_exception_handler(_tell)
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    closing = asyncio.Event()
    app = make_app(console)
    app.state.access = access
    settings: dict[str, Any] = {} if secured is None else {"ssl_context_factory": lambda *_both: secured.context}
    config = Config(
        guarded(app, access, closing, loopback=place.loopback),
        loop="asyncio",
        http=_Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=_KEPT,
        timeout_graceful_shutdown=_END,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        **settings,
    )
    await _Server(config, live_of(app), closing, ends).serve(sockets=list(place.sockets))
