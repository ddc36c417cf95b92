"""One ssh that holds a connection to a host, as long as this process holds its socket.

It goes into the background once it has logged in, which is how its end is told from its success. From then on it is
ours by a socket that nothing is asked on: when that is closed, by whatever happens to this process, it ends by itself
some seconds later.
"""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.errors import TransportError, own_limit
from reconciler.programs import Ending, settled_program

from ._openssh_mux import MuxError, MuxSocket, RefusedError, SilentError
from ._openssh_said import Asked, farewell, trouble

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from threading import Event

PERSIST = 5
"""Seconds after which a connection that nobody holds ends by itself: its run was killed."""
_MAX_LOG = 16 * 1024
_FAREWELL = 2.0
"""Seconds for an ssh to end when it is asked to."""
_ANSWER = 10.0
"""Seconds for an ssh to answer on its socket, where it needn't ask the host."""
NOT_THERE = "install OpenSSH's client (Debian: openssh-client, Red Hat: openssh-clients), or name its `program`"
_SLOW_KEY = "an agent, or a key on hardware, may wait for somebody"
_SLOW_TICKET = f"the realm's KDC may not answer: see whether kinit does; or {_SLOW_KEY}"
_PROHIBITED = "administratively prohibited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What an ssh is started with: the program and its arguments, but for those of its socket and log.

    `way` is the connection to the host, where ssh isn't to make one by itself; it is closed here in any case.
    `timeout` is for all of it, in seconds.
    """

    program: str
    arguments: Sequence[str]
    asked: Asked
    env: Mapping[str, str]
    timeout: float
    stop: Event
    way: socket.socket | None = None


class Master:
    """An ssh that is logged in. Safe to use from several threads."""

    def __init__(self, start: Start, place: Path) -> None:
        """Start it; its socket will be at `place`.

        Raises:
            TransportError: it can't connect; AuthenticationError, HostKeyError and HungUpError say more.
            LimitError: this machine has no room for it.
        """
        self._place = place
        self._log = place.with_name(f"{place.name}.log")
        self._stop = start.stop
        try:
            _connected(start, place, self._log)
            self._lease = self.mux(_ANSWER)
            try:
                self._pid = self._lease.pid()
            except (MuxError, OSError) as error:
                self._lease.close()
                raise self.broken(error) from error
        except BaseException:
            self._log.unlink(missing_ok=True)
            raise

    def close(self) -> None:
        """End it, and all that goes over it."""
        self._lease.terminate(_FAREWELL)
        self._lease.close()
        with suppress(ChildProcessError):  # where this process is the first one, all that is left by others is its own
            os.waitpid(self._pid, os.WNOHANG)
        for path in (self._log, self._place):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    @property
    def alive(self) -> bool:
        """Whether it is there, and answers."""
        try:
            return self._lease.pid() == self._pid
        except (MuxError, OSError):
            return False

    def mux(self, patience: float) -> MuxSocket:
        """Give a new connection to its socket; each answer is waited for `patience` seconds.

        Raises:
            TransportError: it is gone.
        """
        try:
            return MuxSocket(str(self._place), patience=patience, still=lambda: not self._stop.is_set())
        except (MuxError, OSError) as error:
            if own := own_limit(error):
                raise own from error
            raise self.broken(error) from error

    def way_to(self, host: str, port: int, patience: float, stack: ExitStack) -> socket.socket:
        """Have its host connect to another one; give the connection, for as long as the stack isn't closed.

        Raises:
            RefusedError: it can't, or doesn't let us; the message has its words, if any.
            TransportError: it is gone.
        """
        size = self._log.stat().st_size if self._log.exists() else 0
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as opened:
            opened.callback(ours.close)
            mux = opened.enter_context(self.mux(patience))
            try:
                mux.forward(host, port, theirs.fileno())
            except RefusedError as error:
                words = farewell(self.lines(size)).partition("open failed: ")[2]
                raise RefusedError(words or str(error)) from error
            except (MuxError, OSError) as error:
                raise self.broken(error) from error
            stack.push(opened.pop_all())
        return ours

    def broken(self, error: BaseException) -> TransportError:
        """Say why a connection broke."""
        if isinstance(error, SilentError):
            return TransportError("the host was silent when a command was to begin", reason="silent")
        return TransportError(f"the connection broke: {farewell(self.lines()) or error}")

    def lines(self, start: int = 0) -> list[str]:
        """Give what it logged, from so many bytes on."""
        return _lines(self._log, start)


def prohibited(error: RefusedError) -> bool:
    """Say whether a host doesn't let us go on from there, or else couldn't."""
    return _PROHIBITED in str(error)


def _lines(log: Path, start: int = 0) -> list[str]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start, size - _MAX_LOG))
            return file.read(_MAX_LOG).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _connected(start: Start, place: Path, log: Path) -> None:
    given = ["-o", f"ControlPersist={PERSIST}", *(["-o", "ProxyCommand=-"] if start.way is not None else [])]
    command = [start.program, "-f", "-N", "-M", "-S", str(place), "-E", str(log), *given, *start.arguments]
    name = start.asked.name
    with ExitStack() as stack:
        talks_to = stack.enter_context(start.way).fileno() if start.way is not None else subprocess.DEVNULL
        ended = settled_program(command, "/", start.env, timeout=start.timeout, stop=start.stop, talks_to=talks_to)
    if ended.ending is Ending.NOT_STARTED:
        said = f"the program {start.program} can't be started: {ended.why}"
        raise TransportError(said, hint=NOT_THERE, reason="other")
    if ended.ending is Ending.STOPPED:
        raise TransportError(f"the login at {name} was given up: the run was interrupted", reason="silent")
    if ended.ending is not Ending.EXITED:
        said = f"{name} didn't let us in within {start.timeout:g} s"
        raise TransportError(said, hint=_SLOW_TICKET if start.asked.ticket else _SLOW_KEY, reason="silent")
    if ended.status:
        raise trouble(start.asked, _lines(log) or ended.errors.decode("utf-8", "replace").splitlines())
