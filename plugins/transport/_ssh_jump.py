"""Jump hosts of the ssh transport: a connection to each, in a channel of the one before."""

from __future__ import annotations

from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

from reconciler.errors import TransportError, own_limit
from reconciler.formats.known_hosts import host_name

from ._jump import JumpWay
from ._paramiko import paramiko

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack

_NOBODY_THERE = 2
"""SSH_OPEN_CONNECT_FAILED (RFC 4254, 5.1)."""


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


class JumpPath(JumpWay[JumpHost, paramiko.Transport, Any]):
    """The way over jump hosts. Safe to use from several threads."""

    def __init__(
        self,
        hosts: Sequence[JumpHost],
        dial: Callable[[str, int], Any],
        log_in: Callable[[JumpHost, Any], paramiko.Transport],
        timeout: float,
    ) -> None:
        """Take the hosts in order; `dial` opens a connection to the first, `log_in` makes an SSH connection of one."""
        super().__init__(hosts)
        self._dial = dial
        self._log_in = log_in
        self._timeout = timeout

    def dial(self, host: JumpHost) -> Any:
        """Open a connection to the first host."""
        return self._dial(host.address, host.port)

    def log_in(self, host: JumpHost, over: Any, stack: ExitStack) -> paramiko.Transport:
        """Make an SSH connection of one."""
        transport = self._log_in(host, over)
        stack.callback(close_quietly, transport)
        return transport

    def lives(self, login: paramiko.Transport) -> bool:
        """Say whether a connection is open."""
        return login.is_active()

    def over(self, login: paramiko.Transport, at: JumpHost, to: tuple[str, int], stack: ExitStack) -> Tube:  # noqa: ARG002
        """Give a channel to another host; it ends with the connection that is made over it."""
        try:
            return Tube(login.open_channel("direct-tcpip", to, ("127.0.0.1", 0), timeout=self._timeout))
        except Exception as error:  # whatever a host sends
            if own := own_limit(error):
                raise own from error
            words = getattr(error, "text", "") or str(error) or "it hung up"
            # The host tells a client that isn't there from one that it doesn't lead to; no answer at all is its own.
            gone = getattr(error, "code", None) == _NOBODY_THERE
            said = f"jump host {at.name} has no way to {host_name(*to)}: {words}"
            raise TransportError(said, reason="silent" if gone else "jump") from error
