"""The way over other hosts, as ssh -J has it: each with its own host key and login, through the one before.

The connection to the last of them is shared by all clients that are reached over it, and closed when none is in use.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

import paramiko

from reconciler.errors import TransportError, own_limit
from reconciler.formats.known_hosts import host_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Socket = Any

_NOBODY_THERE = 2
"""SSH_OPEN_CONNECT_FAILED (RFC 4254, 5.1)."""
STILL_BROKEN = 3.0
"""Seconds in which a way that couldn't be opened isn't tried again: many clients wait for the same one."""


def close_quietly(transport: paramiko.Transport) -> None:
    """Close a connection; one over a jump host that is gone already can't be told, and needn't."""
    with suppress(paramiko.SSHException, EOFError, OSError):
        transport.close()


class Tube:
    """A channel as the socket of another connection, on which nothing is sent once it is closed.

    paramiko closes in one thread while another may still send an answer; OpenSSH takes data on a closed channel for an
    attack and ends the whole connection, with all other clients that are reached over it.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._lock = Lock()
        self._closed = False

    def send(self, data: bytes) -> int:
        """Send some of the data, as a socket does; time-outs are short, so the lock isn't held for long."""
        with self._lock:
            if self._closed:
                raise EOFError
            return self._channel.send(data)

    def recv(self, size: int) -> bytes:
        """Receive some data."""
        return self._channel.recv(size)

    def settimeout(self, seconds: float | None) -> None:
        """Set how long sending and receiving may wait."""
        self._channel.settimeout(seconds)

    def close(self) -> None:
        """Close it, once."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._channel.close()


class JumpHost:
    """A host on the way: its options, and the credentials for it."""

    def __init__(self, address: str, port: int, user: str, credentials: Any) -> None:
        self.address = address
        self.port = port
        self.user = user
        self.credentials = credentials

    @property
    def name(self) -> str:
        """The host as known_hosts names it."""
        return host_name(self.address, self.port)


class JumpPath:
    """The way over jump hosts. Safe to use from several threads."""

    def __init__(
        self,
        hops: Sequence[JumpHost],
        dial: Callable[[str, int], Socket],
        log_in: Callable[[JumpHost, Socket], paramiko.Transport],
        timeout: float,
    ) -> None:
        """Take the hosts in order; `dial` opens a connection to the first, `log_in` makes an SSH connection of one."""
        self._hops = hops
        self._dial = dial
        self._log_in = log_in
        self._timeout = timeout
        self._lock = Lock()
        self._users = 0
        self._last: paramiko.Transport | None = None
        self._stack = ExitStack()
        self._broken: tuple[float, TransportError] | None = None

    @contextmanager
    def to(self, host: str, port: int) -> Iterator[Socket]:
        """Give something like a socket to a host behind the last jump host.

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
            yield self._channel(last, self._hops[-1], host, port)
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

    def _connected(self) -> paramiko.Transport:
        """Give the connection to the last host, a new one if the one before died."""
        if self._last is not None and self._last.is_active():
            return self._last
        if self._broken is not None and time.monotonic() - self._broken[0] < STILL_BROKEN:
            raise self._broken[1]
        self._close()
        try:
            self._last = self._connect()
        except TransportError as error:
            self._broken = time.monotonic(), error
            raise
        self._broken = None
        return self._last

    def _connect(self) -> paramiko.Transport:
        before: tuple[paramiko.Transport, JumpHost] | None = None
        for hop in self._hops:
            try:
                socket = self._channel(*before, hop.address, hop.port) if before else self._dial(hop.address, hop.port)
                transport = self._log_in(hop, socket)
            except TransportError as error:
                said = f"jump host {hop.name}: {error.message}"
                raise type(error)(said, hint=error.hint, reason="jump") from error
            self._stack.callback(close_quietly, transport)
            before = transport, hop
        assert before is not None
        return before[0]

    def _channel(self, transport: paramiko.Transport, hop: JumpHost, host: str, port: int) -> Tube:
        try:
            return Tube(transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=self._timeout))
        except Exception as error:  # whatever a host sends
            if own := own_limit(error):
                raise own from error
            words = getattr(error, "text", "") or str(error) or "it hung up"
            # The host tells a client that isn't there from one that it doesn't lead to; no answer at all is its own.
            gone = getattr(error, "code", None) == _NOBODY_THERE
            said = f"jump host {hop.name} has no way to {host_name(host, port)}: {words}"
            raise TransportError(said, reason="silent" if gone else "jump") from error
