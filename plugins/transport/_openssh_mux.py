"""The socket of a running ssh, by which its one connection carries many commands (OpenSSH's ControlMaster).

A socket carries one command, or one connection that the host makes on from there; ssh gets the descriptors for it, so
that what is sent and answered goes through pipes and not through here. ssh knows when the socket is closed, by whatever
happens to this process: it gives up what the socket was for.

Source: OpenSSH's PROTOCOL.mux, version 4.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

_VERSION = 4
_HELLO = 0x00000001
_NEW_SESSION, _ALIVE_CHECK, _TERMINATE, _NEW_STDIO_FWD = 0x10000002, 0x10000004, 0x10000005, 0x10000008
_OK, _DENIED, _FAILURE, _EXIT, _ALIVE, _OPENED = (0x80000000 | number for number in range(1, 7))
_NO_ESCAPE = 0xFFFFFFFF
_REQUEST = 1
"""The number of a request: there is never more than one under way on a socket."""
_MAX_MESSAGE = 256 * 1024
_HEAD = 4
_CHUNK = 4096
_LOOK = 0.5
"""Seconds between two looks at whether somebody still waits."""


class MuxError(Exception):
    """A socket doesn't answer as that of an ssh does, or its ssh is gone; the message says so."""


class SilentError(MuxError):
    """A socket gives no answer in time."""


class RefusedError(Exception):
    """The ssh can't do what it is asked for: as a rule, the host doesn't let it."""


class MuxSocket:
    """One connection to the socket of an ssh; it isn't used by several threads."""

    def __init__(self, path: str, *, patience: float, still: Callable[[], bool]) -> None:
        """Connect and greet. Each answer is waited for `patience` seconds, for as long as `still` is true.

        Raises:
            MuxError: there is no ssh.
            OSError: there is none, or this machine has no room for more.
        """
        self._patience = patience
        self._still = still
        self._read = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(patience)
            self._socket.connect(path)
            self._greet()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Give the descriptor, which can be read from when there is news."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket; what it was for ends."""
        self._socket.close()

    def pid(self) -> int:
        """Ask the ssh for the number of its process."""
        self._send(_words(_ALIVE_CHECK, _REQUEST))
        kind, rest = self._answer()
        if kind != _ALIVE or len(rest) < 2 * _HEAD:
            raise MuxError("the ssh doesn't say that it is alive")
        return int.from_bytes(rest[_HEAD : 2 * _HEAD], "big")

    def terminate(self, patience: float) -> None:
        """Have the ssh end, and wait until it has."""
        with suppress(OSError):
            self._socket.settimeout(patience)
            self._socket.sendall(_text(_words(_TERMINATE, _REQUEST)))
            self.wait(patience)

    def wait(self, patience: float) -> None:
        """Wait until the ssh closes the socket: what it was for is over on the host, too."""
        deadline = time.monotonic() + patience
        with suppress(OSError):
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._socket.recv(_CHUNK):
                    return

    def session(self, command: str, descriptors: Sequence[int]) -> None:
        """Run a command there, with these three as its standard input, output and errors.

        Raises:
            RefusedError: the host allows no session at the moment, or none at all.
            MuxError, OSError: the ssh is gone.
        """
        wishes = _words(0, 0, 0, 0, _NO_ESCAPE)  # no terminal, X11 or agent, and no subsystem
        head = _words(_NEW_SESSION, _REQUEST) + _text(b"") + wishes
        self._request(head + _text(b"") + _text(command.encode()), descriptors)

    def forward(self, host: str, port: int, descriptor: int) -> None:
        """Have the host connect to another one, and carry that over a socket.

        Raises:
            RefusedError: it can't, or doesn't let us.
            MuxError, OSError: the ssh is gone.
        """
        head = _words(_NEW_STDIO_FWD, _REQUEST) + _text(b"")
        self._request(head + _text(host.encode()) + _words(port), (descriptor, descriptor))

    def ended(self) -> int | None:
        """Take what the ssh says of its command, without waiting: the exit status, or None where that isn't known yet.

        Raises:
            MuxError: the ssh is gone, or never heard of an exit status.
        """
        with suppress(BlockingIOError):
            while True:
                kind, rest = self._message(0)
                if kind == _EXIT and len(rest) >= 2 * _HEAD:
                    return int.from_bytes(rest[_HEAD : 2 * _HEAD], "big")
        return None

    def _greet(self) -> None:
        """Agree on the version; what an ssh offers beyond that stands behind it."""
        self._send(_words(_HELLO, _VERSION))
        kind, rest = self._answer()
        if kind != _HELLO or rest[:_HEAD] != _words(_VERSION):
            raise MuxError("the ssh speaks another version of its socket")

    def _request(self, message: bytes, descriptors: Sequence[int]) -> None:
        self._send(message)
        for descriptor in descriptors:
            socket.send_fds(self._socket, [b"\0"], [descriptor])
        kind, rest = self._answer()
        if kind in {_FAILURE, _DENIED}:
            raise RefusedError(rest[2 * _HEAD :].decode("utf-8", "replace"))
        if kind != _OPENED:
            raise MuxError("the ssh gives an answer that nobody knows")

    def _send(self, message: bytes) -> None:
        self._socket.settimeout(self._patience)
        self._socket.sendall(_text(message))

    def _answer(self) -> tuple[int, bytes]:
        return self._message(self._patience)

    def _message(self, patience: float) -> tuple[int, bytes]:
        """Receive a message: what it is, and the rest. With no patience, BlockingIOError says that there is none."""
        deadline = time.monotonic() + patience
        size = _HEAD
        while True:
            if len(self._read) >= _HEAD:
                size = _HEAD + int.from_bytes(self._read[:_HEAD], "big")
                if not 2 * _HEAD <= size <= _MAX_MESSAGE:
                    raise MuxError("the ssh says what no ssh says")
            if size > _HEAD and len(self._read) >= size:
                message = bytes(self._read[_HEAD:size])
                del self._read[:size]
                return int.from_bytes(message[:_HEAD], "big"), message[_HEAD:]
            self._receive(deadline if patience else None)

    def _receive(self, deadline: float | None) -> None:
        left = _LOOK if deadline is None else deadline - time.monotonic()
        if left <= 0 or not (deadline is None or self._still()):
            raise SilentError("the ssh gives no answer")
        self._socket.settimeout(min(left, _LOOK) if deadline is not None else 0)
        try:
            data = self._socket.recv(_CHUNK)
        except TimeoutError:
            return
        if not data:
            raise MuxError("the ssh is gone")
        self._read += data


def _words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


def _text(data: bytes) -> bytes:
    return _words(len(data)) + data
