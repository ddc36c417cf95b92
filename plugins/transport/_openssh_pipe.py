"""Commands over the connection of an ssh: one after the other, each read while it is written to."""

from __future__ import annotations

import fcntl
import os
import selectors
import time
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from typing import TYPE_CHECKING

from reconciler.contracts import Completed
from reconciler.errors import TransportError, own_limit

from ._input import Input
from ._openssh_mux import MuxError, RefusedError
from ._printed import GRACE, Printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from threading import Event
    from typing import Self

    from ._input import Reply
    from ._openssh_master import Master
    from ._openssh_mux import MuxSocket

_CHUNK = 64 * 1024
_WIDE = 256 * 1024
"""Bytes that wait for ssh to send them: it and we take turns less often."""
_AT_ONCE = 1024 * 1024
"""Bytes after which it is looked at what the client says, however fast it takes them."""
_LOOK = 1.0
_CLOSE_TIMEOUT = 2.0
"""Seconds that a server may take to close the channel of a command that has ended."""
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)


class OpensshPipe:
    """Runs commands on one connection, one after the other; closes it at the end of a `with`.

    A server may allow one command at a time, and forgets the one before a little later than it says so; a refusal is
    therefore believed only when it stays, and then there is another connection for each command.
    """

    def __init__(self, connect: Callable[[ExitStack], Master], stop: Event, *, idle: float, total: float) -> None:
        """Take what connects and leaves what closes that on a stack; `idle` and `total` are seconds."""
        self._connect = connect
        self._stop = stop
        self._idle = idle
        self._total = total
        self._stack = ExitStack()
        self._master: Master | None = None
        self._before: MuxSocket | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._master = self._connect(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            self._before.close()
        self._master = self._before = None
        self._stack.close()

    def run(self, command: str, stdin: Iterable[bytes], *, timeout: float, patience: float = 0.0) -> Completed:
        """Run `command` with the login shell; see `contracts.Pipe`."""
        return self._run(command, Input(stdin), min(timeout, self._total) + patience)

    def talk(
        self, command: str, stdin: Iterable[bytes], reply: Reply, *, timeout: float, patience: float = 0.0
    ) -> Completed:
        """Run it, and answer what it says; see `contracts.TalkingPipe`."""
        return self._run(command, Input(stdin, reply, self._idle), min(timeout, self._total) + patience)

    def _run(self, command: str, stdin: Input, longest: float) -> Completed:
        assert self._master is not None
        try:
            with ExitStack() as stack:
                mux, talk = self._begun(command, stdin, stack)
                status = talk.run(longest)
                self._before = mux
        except (MuxError, OSError) as error:
            if own := own_limit(error):
                raise own from error
            raise self._master.broken(error) from error
        if status is None:
            said = "the connection broke: the client's command was killed, or the client hung up"
            raise TransportError(said)
        return Completed(status, talk.printed.stdout, talk.printed.stderr)

    def _begun(self, command: str, stdin: Input, stack: ExitStack) -> tuple[MuxSocket, _Talk]:
        before, self._before = self._before, None
        pauses = iter(() if before is None else _PAUSES)
        if before is not None:
            before.wait(_CLOSE_TIMEOUT)
            before.close()
        again = before is not None
        while True:
            try:
                return self._opened(command, stdin, stack)
            except RefusedError as error:
                pause = next(pauses, None)
                if pause is not None:
                    time.sleep(pause)
                elif again:
                    again = False
                    self.__exit__()
                    self.__enter__()
                else:
                    raise TransportError(f"the client's server runs no command: {error}") from error

    def _opened(self, command: str, stdin: Input, stack: ExitStack) -> tuple[MuxSocket, _Talk]:
        assert self._master is not None
        with ExitStack() as theirs, ExitStack() as ours:
            mux = ours.enter_context(_closed_on_error(self._master.mux(self._idle)))
            feed, source = _pipe(theirs, ours, ours_reads=False)
            out, output = _pipe(theirs, ours, ours_reads=True)
            err, errors = _pipe(theirs, ours, ours_reads=True)
            with suppress(OSError):  # as much as this user may have
                fcntl.fcntl(feed, fcntl.F_SETPIPE_SZ, _WIDE)
            mux.session(command, (source, output, errors))
            stack.push(ours.pop_all())
        return mux, _Talk(mux, (feed, out, err), stdin, idle=self._idle, stop=self._stop)


@contextmanager
def _closed_on_error(mux: MuxSocket) -> Iterator[MuxSocket]:
    try:
        yield mux
    except BaseException:
        mux.close()
        raise


def _pipe(theirs: ExitStack, ours: ExitStack, *, ours_reads: bool) -> tuple[FileIO, int]:
    """Make a pipe of which one end is given away; give ours and the other one."""
    reads, writes = os.pipe()
    own, given = (reads, writes) if ours_reads else (writes, reads)
    theirs.callback(os.close, given)
    os.set_blocking(own, False)
    return ours.enter_context(FileIO(own, "r" if ours_reads else "w")), given


class _Talk:
    """Feeds a command and collects what it says; never waits for the one without doing the other."""

    def __init__(
        self, mux: MuxSocket, ends: tuple[FileIO, FileIO, FileIO], stdin: Input, *, idle: float, stop: Event
    ) -> None:
        self._mux = mux
        self._feed, self._out, self._err = ends
        self._stdin = stdin
        self._waiting = memoryview(b"")
        self._idle = idle
        self._stop = stop
        self._status: int | None = None
        self._resting = False
        self.printed = Printed()

    def run(self, longest: float) -> int | None:
        """Give the exit status once there is no more to come; None where none was told."""
        now = moved = time.monotonic()
        deadline, stopped, awaited = now + longest, 0.0, 3
        with selectors.DefaultSelector() as selector:
            selector.register(self._feed, selectors.EVENT_WRITE, self._send)
            selector.register(self._out, selectors.EVENT_READ, lambda: self._receive(self._out))
            selector.register(self._err, selectors.EVENT_READ, lambda: self._receive(self._err))
            selector.register(self._mux, selectors.EVENT_READ, self._listen)
            while awaited:
                ready = selector.select(max(0.0, min(_LOOK, deadline - now)))
                for key, _events in ready:
                    if not key.data():
                        selector.unregister(key.fileobj)
                        if key.fileobj is self._feed:
                            self._rest()
                        else:
                            awaited -= 1
                if self._resting and self._fed():
                    selector.register(self._feed, selectors.EVENT_WRITE, self._send)
                now = time.monotonic()
                moved = now if ready else moved
                if self._stop.is_set():
                    stopped = stopped or now
                    if now - max(moved, stopped) > GRACE:
                        raise TransportError("the host was silent when the run was interrupted", reason="silent")
                if now > deadline:
                    raise TransportError("the client took too long", reason="silent")
                if now - moved > self._idle:
                    raise TransportError(f"the client was silent for {self._idle:.0f} s", reason="silent")
        return self._status

    def _listen(self) -> bool:
        try:
            self._status = self._mux.ended()
        except MuxError:
            return False
        return self._status is None

    def _receive(self, end: FileIO) -> bool:
        chunk = os.read(end.fileno(), _CHUNK)
        self.printed.take(chunk, error=end is self._err)
        return bool(chunk)

    def _rest(self) -> None:
        """End the input, unless the command is to say something first."""
        self._resting = self._stdin.waits
        if not self._resting:
            self._feed.close()

    def _fed(self) -> bool:
        """Say whether there is an answer to what was said by now; where there is none to come, the input ends."""
        chunk = self._stdin.next(self.printed)
        if chunk is None:
            self._rest()
            return False
        self._waiting, self._resting = memoryview(chunk), False
        return True

    def _send(self) -> bool:
        """Write what is taken now; say whether there is more, and somebody who reads it."""
        room = _AT_ONCE
        try:
            while room > 0:
                if not self._waiting:
                    chunk = self._stdin.next(self.printed)
                    if chunk is None:
                        return False
                    self._waiting = memoryview(chunk)
                    continue
                sent = os.write(self._feed.fileno(), self._waiting[:_WIDE])
                self._waiting = self._waiting[sent:]
                room -= sent
        except BlockingIOError:
            pass
        except BrokenPipeError:  # the command has ended and nobody reads any more
            return False
        return True
