"""Reaching clients: connections that are tried once more, and kept for the step that follows.

A run looks at its clients first and changes them then. A connection costs more than either, so up to KEPT of them stay
open in between. One that died meanwhile is noticed when it is used; the work is then done again over a new one, which
is safe: facts change nothing, and a deploy request that was carried out already answers `ok`.
"""

from __future__ import annotations

from contextlib import ExitStack
from threading import Event, Lock
from typing import TYPE_CHECKING, TypeVar

from reconciler.errors import AuthenticationError, HostKeyError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.contracts import Session, Transport
    from reconciler.model.client import Client

ResultT = TypeVar("ResultT")

KEPT = 128
CONNECT_TRIES = 2
PAUSE = 1.0
"""Seconds between two tries to connect; a stopped run doesn't wait."""


class Reach:
    """Gives each client's work a session. Safe to use from several threads, one thread at a time for one client."""

    def __init__(self, transport_of: Callable[[str], Transport], stop: Event, *, kept: int = KEPT) -> None:
        """Take `transport_of`, which gives the transport of a group by its name."""
        self._transport_of = transport_of
        self._stop = stop
        self._room = kept
        self._open: dict[str, tuple[Session, ExitStack]] = {}
        self._lock = Lock()

    def work(self, client: Client, do: Callable[[Session], ResultT], *, keep: bool = False) -> ResultT:
        """Call `do` with a session of the client; `keep` leaves the connection open for the next call.

        Raises:
            TransportError: the client can't be reached, or the connection broke while it worked.
            UpdoserError: what `do` raises.
        """
        with self._lock:
            session, stack = self._open.pop(client.name, (None, None))
        if session is not None and stack is not None:
            try:
                return self._do(client, session, stack, do, keep=keep)
            except TransportError:
                if self._stop.is_set():
                    raise
        stack = ExitStack()
        session = self._connect(client, stack)
        return self._do(client, session, stack, do, keep=keep)

    def close(self) -> None:
        """Close the connections that were kept."""
        with self._lock:
            kept, self._open = list(self._open.values()), {}
        for _session, stack in kept:
            stack.close()

    def _connect(self, client: Client, stack: ExitStack) -> Session:
        for rest in reversed(range(CONNECT_TRIES)):
            try:
                return stack.enter_context(self._transport_of(client.group).connect(client))
            except (AuthenticationError, HostKeyError):
                raise
            except TransportError:
                if not rest or self._stop.wait(PAUSE):
                    raise
        raise AssertionError

    def _do(
        self, client: Client, session: Session, stack: ExitStack, do: Callable[[Session], ResultT], *, keep: bool
    ) -> ResultT:
        with stack:
            result = do(session)
            if keep and len(self._open) < self._room:
                with self._lock:
                    self._open[client.name] = session, stack.pop_all()
            return result
