"""Commands over an SSH connection: one channel for each, read while it is written to."""

from __future__ import annotations

import select
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import paramiko

from reconciler.contracts import Completed
from reconciler.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WINDOW = 8 * 1024 * 1024
MAX_OUTPUT = 1024 * 1024
MAX_ERRORS = 64 * 1024
_CHUNK = 64 * 1024
_POLL = 0.005
"""Seconds between two looks at whether the client takes more; only when it takes nothing at the moment."""


class SshPipe:
    """Runs commands on one connection, one channel for each."""

    def __init__(self, transport: paramiko.Transport, *, idle: float, total: float) -> None:
        """Take an open connection; `idle` and `total` are seconds."""
        self._transport = transport
        self._idle = idle
        self._total = total

    def run(self, command: str, stdin: Iterable[bytes], *, timeout: float, patience: float = 0.0) -> Completed:
        """Run `command` with the login shell; see `contracts.Pipe`."""
        channel = None
        try:
            channel = self._transport.open_session(window_size=WINDOW, timeout=self._idle)
            channel.exec_command(command)
            return _Talk(channel, iter(stdin), self._idle, min(timeout, self._total) + patience).run()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise TransportError(f"the connection broke: {str(error) or 'the client hung up'}") from error
        finally:
            if channel is not None:
                with suppress(paramiko.SSHException, EOFError, OSError):  # the connection may be gone already
                    channel.close()


class _Talk:
    """Feeds a command and collects what it says; never waits for the one without doing the other."""

    def __init__(self, channel: paramiko.Channel, stdin: Iterator[bytes], idle: float, total: float) -> None:
        self._channel = channel
        self._stdin = stdin
        self._idle = idle
        self._deadline = time.monotonic() + total
        self._waiting = memoryview(b"")
        self._sending = True
        self._stdout = bytearray()
        self._stderr = bytearray()

    def run(self) -> Completed:
        channel = self._channel
        channel.setblocking(0)
        last = time.monotonic()
        while True:
            moved = self._receive() or self._send()
            now = time.monotonic()
            if moved:
                last = now
            elif channel.eof_received and channel.exit_status_ready():
                if not self._receive():
                    break
            elif channel.closed or not channel.get_transport().is_active():
                if channel.exit_status_ready():
                    break
                raise TransportError("the connection broke: the client hung up in the middle of its work")
            elif now - last > self._idle:
                raise TransportError(f"the client was silent for {self._idle:.0f} s")
            elif now > self._deadline:
                raise TransportError("the client took too long")
            else:
                self._wait(min(self._idle - (now - last), self._deadline - now))
        status = channel.recv_exit_status()
        if status < 0:
            raise TransportError("the connection broke: the client's command was killed, or the client hung up")
        return Completed(status, bytes(self._stdout), bytes(self._stderr))

    def _wait(self, longest: float) -> None:
        """Wait for output; for room to send there is no signal, so look again soon."""
        channel = self._channel
        select.select([channel], [], [], min(longest, _POLL if self._sending or channel.eof_received else 1.0))

    def _receive(self) -> bool:
        moved = False
        while self._channel.recv_ready():
            chunk = self._channel.recv(_CHUNK)
            self._stdout += chunk[: MAX_OUTPUT - len(self._stdout)]
            moved = True
        while self._channel.recv_stderr_ready():
            chunk = self._channel.recv_stderr(_CHUNK)
            self._stderr += chunk[: MAX_ERRORS - len(self._stderr)]
            moved = True
        return moved

    def _send(self) -> bool:
        if not self._sending:
            return False
        if not self._waiting:
            chunk = next(self._stdin, None)
            if chunk is None:
                self._finish()
                return True
            self._waiting = memoryview(chunk)
        if not self._channel.send_ready():
            return False
        try:
            sent = self._channel.send(bytes(self._waiting[:_CHUNK]))
        except TimeoutError:
            return False
        except OSError:  # the command has ended and nobody reads any more
            self._sending = False
            return False
        self._waiting = self._waiting[sent:]
        return bool(sent)

    def _finish(self) -> None:
        self._sending = False
        try:
            self._channel.shutdown_write()
        except OSError:
            return
