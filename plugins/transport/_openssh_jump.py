"""The way over other hosts, as ssh -J has it: each with its own host key and login, through the one before.

The connection to the last of them is shared by all clients that are reached over it, and closed when none is in use.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from reconciler.errors import TransportError
from reconciler.formats.known_hosts import host_name

from ._openssh_master import prohibited
from ._openssh_mux import RefusedError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Sequence

    from ._openssh_master import Master

STILL_BROKEN = 3.0
"""Seconds in which a way that couldn't be opened isn't tried again: many clients wait for the same one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """A host on the way, who logs in there, and the files of keys of its own."""

    address: str
    port: int
    user: str
    keys: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The host as known_hosts names it."""
        return host_name(self.address, self.port)


class JumpWay:
    """The way over jump hosts. Safe to use from several threads."""

    def __init__(
        self,
        hops: Sequence[Hop],
        dial: Callable[[str, int], socket.socket],
        log_in: Callable[[Hop, socket.socket], Master],
        timeout: float,
    ) -> None:
        """Take the hosts in order; `dial` opens a connection to the first, `log_in` an ssh over one that is open."""
        self._hops = hops
        self._dial = dial
        self._log_in = log_in
        self._timeout = timeout
        self._lock = Lock()
        self._users = 0
        self._last: Master | None = None
        self._stack = ExitStack()
        self._broken: tuple[float, TransportError] | None = None

    @contextmanager
    def to(self, host: str, port: int) -> Iterator[socket.socket]:
        """Give a socket to a host behind the last jump host, for the time of the block.

        Raises:
            TransportError: there is no way; AuthenticationError and HostKeyError say more.
        """
        with self._lock:
            self._users += 1
            try:
                last = self._connected()
            except BaseException:
                self._leave()
                raise
        try:
            with ExitStack() as stack:
                yield self._over(last, self._hops[-1], host, port, stack)
        finally:
            with self._lock:
                self._leave()

    def _leave(self) -> None:
        self._users -= 1
        if not self._users:
            self._close()

    def _close(self) -> None:
        stack, self._stack, self._last = self._stack, ExitStack(), None
        stack.close()

    def _connected(self) -> Master:
        """Give the ssh at the last host, a new one if the one before died."""
        if self._last is not None and self._last.alive:
            return self._last
        if self._broken is not None and time.monotonic() - self._broken[0] < STILL_BROKEN:
            raise self._broken[1]
        self._close()
        try:
            self._last = self._connect()
        except TransportError as error:
            self._close()
            self._broken = time.monotonic(), error
            raise
        self._broken = None
        return self._last

    def _connect(self) -> Master:
        before: tuple[Master, Hop] | None = None
        for hop in self._hops:
            try:
                if before:
                    way = self._over(*before, hop.address, hop.port, self._stack)
                else:
                    way = self._dial(hop.address, hop.port)
                master = self._log_in(hop, way)
            except TransportError as error:
                said = f"jump host {hop.name}: {error.message}"
                raise type(error)(said, hint=error.hint, reason="jump") from error
            self._stack.callback(master.close)
            before = master, hop
        assert before is not None
        return before[0]

    def _over(self, master: Master, hop: Hop, host: str, port: int, stack: ExitStack) -> socket.socket:
        try:
            return master.way_to(host, port, self._timeout, stack)
        except RefusedError as error:
            # The host tells a client that isn't there from one that it doesn't lead to; no answer at all is its own.
            said = f"jump host {hop.name} has no way to {host_name(host, port)}: {error}"
            raise TransportError(said, reason="jump" if prohibited(error) else "silent") from error
