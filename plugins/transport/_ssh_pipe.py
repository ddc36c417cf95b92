"""Commands over an SSH connection: one channel for each, read while it is written to.

Time is kept by a watch of its own, because paramiko waits without end in some places: for the answer to an exec
request, and for a peer that takes no more bytes. The watch closes the connection; whatever waits for it then wakes.
"""

from __future__ import annotations

import time
from threading import Event, Thread
from typing import TYPE_CHECKING

import paramiko

from reconciler.contracts import Completed
from reconciler.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Self

WINDOW = 8 * 1024 * 1024
"""Bytes that a client may print before it has to wait for us."""
MAX_OUTPUT = 1024 * 1024
MAX_ERRORS = 64 * 1024
_CHUNK = 64 * 1024
_PACKET = 32 * 1024 - 64
"""What one packet to OpenSSH holds; a larger piece would be cut there."""
_TURN = 0.25
"""Seconds that one direction may wait before the other has its turn; each wakes at once when it can go on."""


class SshPipe:
    """Runs commands on one connection, one channel for each."""

    def __init__(self, transport: paramiko.Transport, *, idle: float, total: float) -> None:
        """Take an open connection; `idle` and `total` are seconds."""
        self._transport = transport
        self._idle = idle
        self._total = total

    def run(self, command: str, stdin: Iterable[bytes], *, timeout: float) -> Completed:
        """Run `command` with the login shell; see `contracts.Pipe`."""
        with _Watch(self._transport, self._idle, min(timeout, self._total)) as watch:
            channel = None
            try:
                channel = self._transport.open_session(window_size=WINDOW)
                channel.exec_command(command)
                return _Talk(channel, iter(stdin), watch).run()
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise watch.broken(str(error) or "the client hung up") from error
            finally:
                if channel is not None:
                    _close(channel)


def _close(channel: paramiko.Channel) -> None:
    try:
        channel.close()
    except (EOFError, OSError):  # the connection is gone, and the channel with it
        return


class _Watch:
    """Closes a connection on which nothing moved for `idle` seconds, or that was at work for `total`."""

    def __init__(self, transport: paramiko.Transport, idle: float, total: float) -> None:
        self._transport = transport
        self._idle = idle
        self._last = time.monotonic()
        self._end = self._last + total
        self._done = Event()
        self._reason = ""
        self._thread = Thread(target=self._watch, name="updoser-ssh-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def moved(self) -> None:
        """Note that bytes went or came."""
        self._last = time.monotonic()

    def broken(self, detail: str) -> TransportError:
        """Give the error of a connection that broke: the watch's reason, when it was the watch who closed it."""
        return TransportError(self._reason or f"the connection broke: {detail}")

    def _watch(self) -> None:
        while not self._done.wait(max(0.0, min(self._last + self._idle, self._end) - time.monotonic())):
            now = time.monotonic()
            if now >= self._last + self._idle:
                self._reason = f"the client was silent for {self._idle:.0f} s"
            elif now >= self._end:
                self._reason = "the client took too long"
            else:
                continue
            self._transport.close()
            return


class _Talk:
    """Feeds a command and collects what it says; never waits for the one without doing the other."""

    def __init__(self, channel: paramiko.Channel, stdin: Iterator[bytes], watch: _Watch) -> None:
        self._channel = channel
        self._stdin = stdin
        self._watch = watch
        self._waiting = memoryview(b"")
        self._sending = True
        self._ended = False
        self._stdout = bytearray()
        self._stderr = bytearray()

    def run(self) -> Completed:
        channel = self._channel
        channel.settimeout(_TURN)
        while not (self._ended and channel.exit_status_ready()):
            if self._sending:
                self._send()
            self._receive()
        self._receive_errors()
        status = channel.recv_exit_status()
        if status < 0:
            raise self._watch.broken("the client's command was killed, or the client hung up")
        return Completed(status, bytes(self._stdout), bytes(self._stderr))

    def _send(self) -> None:
        """Send a piece, or wait a turn for the client to take one."""
        if not self._waiting:
            chunk = next(self._stdin, None)
            if chunk is None:
                self._finish()
                return
            self._waiting = memoryview(chunk)
        try:
            sent = self._channel.send(bytes(self._waiting[:_PACKET]))
        except TimeoutError:
            return
        except OSError:  # the command has ended and nobody reads any more
            self._sending = False
            return
        self._waiting = self._waiting[sent:]
        self._watch.moved()

    def _finish(self) -> None:
        self._sending = False
        try:
            self._channel.shutdown_write()
        except OSError:
            return

    def _receive(self) -> None:
        """Take what has come; when all is sent, wait a turn for more, or for the exit status."""
        self._receive_errors()
        if self._ended:
            self._channel.status_event.wait(0 if self._sending else _TURN)
        elif not self._sending or self._channel.recv_ready() or self._channel.eof_received:
            try:
                chunk = self._channel.recv(_CHUNK)
            except TimeoutError:
                return
            self._ended = not chunk
            self._stdout += chunk[: MAX_OUTPUT - len(self._stdout)]
            self._watch.moved()

    def _receive_errors(self) -> None:
        while self._channel.recv_stderr_ready():
            self._stderr += self._channel.recv_stderr(_CHUNK)[: MAX_ERRORS - len(self._stderr)]
            self._watch.moved()
