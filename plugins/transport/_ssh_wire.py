"""An SSH connection that ends by itself: no host is waited for without end, and none may send without end.

paramiko waits without an end in some places, as for the answer to `exec` or for a host to take what is sent, and
believes each length that it is told. Whatever it waits for, its own thread looks at the socket twice a second, and when
something comes. There the clock is read and bytes are counted, and a connection that ends there wakes everybody who
waits.

With many connections it is these threads' turns that cost: each call of the system hands Python to another one. So what
came is received at once however small the pieces are that paramiko asks for, and what is sent is waited for only where
the host takes nothing.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import select
import socket as sockets
import time
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from reconciler.errors import TransportError, printable

from ._paramiko import Packetizer, ZlibCompressor, paramiko
from ._printed import GRACE, MAX_PRINTED

if TYPE_CHECKING:
    import threading

    from reconciler.reasons import Reason

WINDOW = 2 * 1024 * 1024
"""Bytes of output that may be on their way to us; what a client answers is smaller."""
MAX_RECEIVED = MAX_PRINTED + 2 * WINDOW
"""Bytes that a host may send for one command, and a quarter of what it is sent on top: it confirms that."""
MAX_PACKET = 256 * 1024
"""Bytes of one packet, as OpenSSH has it; a header may claim 4 GiB."""
STUCK = 60.0
"""Seconds in which a host must take something of what it is sent."""
LOOK = 0.5
"""Seconds between two looks at a connection on which nothing comes."""
_CONFIRM_AT_ONCE: int | None = getattr(sockets, "TCP_QUICKACK", None)
"""Option of a socket, good until the next packets: sshd keeps back what it says until what it said before is confirmed,
and the system waits 40 ms with that, for something to send. That was so for each command."""
_AHEAD = 32 * 1024
"""Bytes that are received at once."""
_MAX_FAREWELL = 200
_WEAK = {
    "ciphers": ["aes192-ctr", "aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc"],
    "macs": ["hmac-md5", "hmac-sha1-96", "hmac-md5-96"],
}
"""What no host of the last fifteen years needs."""


class Wire:
    """The socket of a connection, for paramiko.

    `trouble` says why it ended, if it did so by itself; `flooded`, that more was sent than may be.
    """

    def __init__(self, socket: Any, stop: threading.Event) -> None:
        """Take something like a socket, and what is set when the run is to end."""
        self._socket = socket
        self._plain = type(socket) is sockets.socket
        if self._plain:
            socket.setblocking(False)
        self._ahead = b""
        self._stop = stop
        self._closed = False  # paramiko looks at it
        self._patience = self._after_stop = math.inf
        self._room: float = MAX_RECEIVED
        self._since = self._stopped = self._stuck = 0.0
        self.trouble: TransportError | None = None
        self.flooded = False

    def expect(self, patience: float, after_stop: float = 0.0) -> None:
        """Wait for the host from now on, `patience` seconds at a time; only `after_stop` once the run is to end."""
        self.moved()
        self._room = MAX_RECEIVED
        self._patience, self._after_stop = patience, after_stop

    def moved(self) -> None:
        """Note that the host does something."""
        self._since = time.monotonic()

    def rest(self) -> None:
        """Expect nothing until further notice; what still comes is counted."""
        self._patience = self._after_stop = math.inf

    def carry(self) -> None:
        """Let other connections come over this one, which look after themselves."""
        self.rest()
        self._room = math.inf

    def send(self, data: bytes) -> int:
        """Send some of the data, as a socket does."""
        self._look()
        try:
            sent = self._send(data)
        except TimeoutError:
            now = time.monotonic()
            self._stuck = self._stuck or now
            if now - self._stuck > (GRACE if self._stop.is_set() else STUCK):
                self._end(f"the host took nothing for {now - self._stuck:.0f} s", "silent")
            raise
        self._stuck = 0.0
        self._room += sent / 4
        return sent

    def recv(self, size: int) -> bytes:
        """Receive some data."""
        if not self._ahead:
            self._look()
            self._ahead = bytes(self._receive())
            self._room -= len(self._ahead)
            if self._room < 0:
                self.flooded = self.trouble is None
                self._end("the host sends without end")
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def _send(self, data: bytes) -> int:
        if not self._plain:
            return int(self._socket.send(data))
        try:
            return int(self._socket.send(data))
        except BlockingIOError:
            self._wait(select.POLLOUT)
            return int(self._socket.send(data))

    def _receive(self) -> bytes:
        if not self._plain:
            return bytes(self._socket.recv(_AHEAD))
        self._wait(select.POLLIN)
        data = bytes(self._socket.recv(_AHEAD))
        if _CONFIRM_AT_ONCE is not None:
            with suppress(OSError):  # it is no socket of TCP
                self._socket.setsockopt(sockets.IPPROTO_TCP, _CONFIRM_AT_ONCE, 1)
        return data

    def _wait(self, what: int) -> None:
        """Wait until the socket can be read or written, or until it is time for a look.

        Raises:
            TimeoutError: it is. OSError: it was closed.
        """
        number = self._socket.fileno()
        if number < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        waiting = select.poll()
        waiting.register(number, what)
        if not waiting.poll(1000 * LOOK):
            raise TimeoutError

    def _look(self) -> None:
        now = time.monotonic()
        if self._patience < math.inf and self._stop.is_set():  # at rest nobody works, and nobody asks
            self._stopped = self._stopped or now
            if now - max(self._since, self._stopped) > self._after_stop:
                self._end("the host was silent when the run was interrupted", "silent")
        if now - self._since > self._patience:
            self._end(f"the host was silent for {self._patience:.0f} s", "silent")

    def _end(self, why: str, reason: Reason | None = None) -> None:
        self.trouble = self.trouble or TransportError(why, reason=reason)
        raise EOFError

    def settimeout(self, seconds: float | None) -> None:
        """Set how long sending and receiving may wait; paramiko's own time is too short to do it for each client."""
        if not self._plain:
            self._socket.settimeout(seconds if seconds is None else max(seconds, LOOK))

    def close(self) -> None:
        """Close it, and wake who waits for something to come."""
        self._closed = True
        if self._plain:
            with suppress(OSError):
                self._socket.shutdown(sockets.SHUT_RDWR)
        self._socket.close()


class _Packets(Packetizer):
    """Reads no packet that no host sends, and has no thread for the time of a handshake."""

    _deadline = math.inf

    def start_handshake(self, timeout: float) -> None:
        """Give the handshake some time from now on."""
        self._deadline = time.monotonic() + timeout

    def handshake_timed_out(self) -> bool:
        """Say whether that time is over."""
        return time.monotonic() > self._deadline

    def complete_handshake(self) -> None:
        """Note that it ended in time."""
        self._deadline = math.inf

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Read so many bytes."""
        if n > MAX_PACKET:
            raise paramiko.SSHException(f"it announces a packet of {n} bytes")
        return bytes(super().read_all(n, check_rekey))


class _Inflater:
    """Unpacks what a host packed, and no packet to more than MAX_PACKET: a few bytes can stand for gigabytes."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj()

    def __call__(self, data: bytes) -> bytes:
        unpacked = self._stream.decompress(data, MAX_PACKET)
        if self._stream.unconsumed_tail:
            raise paramiko.SSHException("it sends a packet that has no end once it is unpacked")
        return unpacked


class Connection(paramiko.Transport):
    """Asks for no host certificates (they can't be held against known_hosts), and keeps why a host ended it."""

    _compression_info = {  # noqa: RUF012 - paramiko's own
        "zlib@openssh.com": (ZlibCompressor, _Inflater),
        "zlib": (ZlibCompressor, _Inflater),
        "none": (None, None),
    }
    farewell = ""

    def __init__(self, socket: Any, stop: threading.Event) -> None:
        """Take something like a socket, and what is set when the run is to end."""
        self.wire = Wire(socket, stop)
        wire: Any = self.wire
        super().__init__(wire, default_window_size=WINDOW, disabled_algorithms=_WEAK, packetizer_class=_Packets)

    def start_client(self, event: threading.Event | None = None, timeout: float | None = None) -> None:
        """Agree on algorithms and keys; paramiko says nothing of a host that takes too long."""
        super().start_client(event, timeout)
        if self.is_active() and not self.initial_kex_done:
            raise TimeoutError

    def _parse_debug(self, message: paramiko.Message) -> None:
        """Leave alone what a host says for those who look for a mistake, unless somebody does."""
        if self.logger.isEnabledFor(logging.DEBUG):
            super()._parse_debug(message)  # type: ignore[misc] # its types don't know it

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        """Keep the reason."""
        message.get_int()
        self.farewell = printable(message.get_binary().decode("utf-8", "replace"))[:_MAX_FAREWELL]

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """The kinds of host keys that are asked for."""
        return tuple(kind for kind in super().preferred_keys if "-cert-" not in kind)
