"""Commands over an SSH connection: one channel for each, read while it is written to."""

from __future__ import annotations

import math
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from reconciler.contracts import Completed
from reconciler.errors import ProtocolError, TransportError, UpdoserError, own_limit

from ._input import Input
from ._paramiko import paramiko
from ._printed import GRACE, Printed
from ._ssh_ahead import POLL, ahead
from ._ssh_wire import WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from ._input import Reply
    from ._ssh_wire import Connection, Wire

_CHUNK = 64 * 1024
CLOSE_TIMEOUT = 2.0
"""Seconds that a server may take to close the channel of a command that has ended."""
_LATER = 5.0
"""Seconds after which a client is silent for the connection too, should its silence not be noticed here."""
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)


class SshPipe:
    """Runs commands on one connection, one channel for each, one after the other; closes it at the end of a `with`.

    A server may allow one command at a time (`MaxSessions 1`): a channel is opened when the server has closed the one
    before. It forgets that one a little later than it says so; a refusal is therefore believed only when it stays, and
    then there is another connection for each command.
    """

    def __init__(self, connect: Callable[[ExitStack], Connection], *, idle: float, total: float) -> None:
        """Take what opens a connection and leaves what closes it on a stack; `idle` and `total` are seconds."""
        self._connect = connect
        self._idle = idle
        self._total = total
        self._stack = ExitStack()
        self._transport: Connection | None = None
        self._before: paramiko.Channel | None = None
        self._round_trip = math.inf

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._transport = self._connect(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._transport, self._before = None, None
        self._stack.close()

    def run(self, command: str, stdin: Iterable[bytes], *, timeout: float, patience: float = 0.0) -> Completed:
        """Run `command` with the login shell; see `contracts.Pipe`."""
        return self._run(command, Input(stdin), min(timeout, self._total) + patience)

    def talk(
        self, command: str, stdin: Iterable[bytes], reply: Reply, *, timeout: float, patience: float = 0.0
    ) -> Completed:
        """Run it, and answer what it says; see `contracts.TalkingPipe`."""
        return self._run(command, Input(stdin, reply, self._idle), min(timeout, self._total) + patience)

    def _run(self, command: str, stdin: Input, total: float) -> Completed:
        assert self._transport is not None
        self._transport.wire.expect(self._idle)
        try:
            channel, wire = self._channel()
            self._before = channel
            with _closing_on_error(channel, wire):
                talk = _Talk(channel, wire, stdin, self._idle, total)
                channel.exec_command(command)
                wire.expect(self._idle + _LATER, GRACE)
                return talk.run()
        except UpdoserError as error:
            raise self._trouble or error from error.__cause__
        except Exception as error:  # whatever a host sends
            if self._trouble is not None:
                raise self._trouble from error
            if own := own_limit(error):
                raise own from error
            raise TransportError(f"the connection broke: {str(error) or 'the client hung up'}") from error
        finally:
            if self._transport is not None:
                self._transport.wire.rest()

    @property
    def _trouble(self) -> UpdoserError | None:
        """Why the connection ended, if it did so by itself; who answers without end was reached, and fails."""
        wire = self._transport.wire if self._transport is not None else None
        if wire is None or wire.trouble is None:
            return None
        return ProtocolError(wire.trouble.message) if wire.flooded else wire.trouble

    def _channel(self) -> tuple[paramiko.Channel, Wire]:
        before, self._before = self._before, None
        if before is None:
            return self._opened()
        deadline = time.monotonic() + CLOSE_TIMEOUT
        while not before.closed and time.monotonic() < deadline:
            time.sleep(POLL)
        _close(before)
        for pause in _PAUSES:
            try:
                return self._opened()
            except paramiko.ChannelException:
                time.sleep(pause)
        self.__exit__()
        self.__enter__()
        return self._opened()

    def _opened(self) -> tuple[paramiko.Channel, Wire]:
        assert self._transport is not None
        wire = self._transport.wire
        wire.expect(self._idle)
        begun = time.monotonic()
        channel = self._transport.open_session(window_size=WINDOW, timeout=self._idle)
        self._round_trip = min(self._round_trip, time.monotonic() - begun)
        # Each confirmation is added to this, so that never more is under way.
        channel.out_window_size = ahead(channel.out_window_size, self._round_trip)
        return channel, wire


@contextmanager
def _closing_on_error(channel: paramiko.Channel, wire: Wire) -> Iterator[None]:
    try:
        yield
    except BaseException:
        wire.expect(CLOSE_TIMEOUT)
        _close(channel)
        raise


def _close(channel: paramiko.Channel) -> None:
    with suppress(paramiko.SSHException, EOFError, OSError):  # the connection may be gone already
        channel.close()


class _Talk:
    """Feeds a command and collects what it says; never waits for the one without doing the other.

    It is woken by an event and not by a descriptor: those run out, and beyond 1023 select() takes none.
    """

    def __init__(self, channel: paramiko.Channel, wire: Wire, stdin: Input, idle: float, total: float) -> None:
        self._channel = channel
        self._wire = wire
        self._stdin = stdin
        self._idle = idle
        self._deadline = time.monotonic() + total
        self._waiting = memoryview(b"")
        self._sending = True
        self._printed = Printed()
        self._news = threading.Event()
        channel.in_buffer.set_event(self._news)
        channel.in_stderr_buffer.set_event(self._news)

    def run(self) -> Completed:
        channel = self._channel
        channel.setblocking(0)
        last = time.monotonic()
        while True:
            moved = self._receive() or self._send()
            now = time.monotonic()
            if now > self._deadline:
                raise TransportError("the client took too long", reason="silent")
            if moved:
                last = now
                self._wire.moved()
            elif channel.eof_received and channel.exit_status_ready():
                if not self._receive():
                    break
            elif channel.closed or not channel.get_transport().is_active():
                if channel.exit_status_ready():
                    break
                raise TransportError("the connection broke: the client hung up in the middle of its work")
            elif now - last > self._idle:
                raise TransportError(f"the client was silent for {self._idle:.0f} s", reason="silent")
            else:
                self._wait(min(self._idle - (now - last), self._deadline - now))
        status = channel.recv_exit_status()
        if status < 0:
            raise TransportError("the connection broke: the client's command was killed, or the client hung up")
        return Completed(status, self._printed.stdout, self._printed.stderr)

    def _wait(self, longest: float) -> None:
        """Wait for output, or behind its end for the exit status; for room to send there is no signal, so look soon."""
        news = self._channel.status_event if self._channel.eof_received else self._news
        soon = (self._sending and not self._stdin.waits) or self._channel.eof_received
        news.wait(min(longest, POLL if soon else 1.0))

    def _receive(self) -> bool:
        moved = False
        while self._channel.recv_ready():
            self._printed.take(self._channel.recv(_CHUNK))
            moved = True
        while self._channel.recv_stderr_ready():
            self._printed.take(self._channel.recv_stderr(_CHUNK), error=True)
            moved = True
        return moved

    def _send(self) -> bool:
        if not self._sending:
            return False
        if not self._waiting:
            chunk = self._stdin.next(self._printed)
            if chunk is None and self._stdin.waits:
                return False
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
