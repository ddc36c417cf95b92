"""Programs of this machine, run within limits: for secrets, inventories and checks, and the shell of a local client.

* None gets a shell that it doesn't name, or what updoser is given to read.
* A program that must end does so with all that it started: it has a process group of its own.
* What it prints is kept up to a limit, or its end only.
* It never fails with an exception but where this machine has no room for it: why it has no exit status is an `Ending`,
  and the words for that are the caller's.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from threading import Event
from typing import TYPE_CHECKING

from reconciler.errors import own_limit, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

MAX_TAIL = 64 * 2**10
"""Bytes of the end that are kept of what is printed, where not all of it counts."""
TICK = 0.05
"""Seconds between two looks at whether a program is over or is to be stopped."""
GRACE = 5.0
"""Seconds that the system may need to end a program."""
_CHUNK = 2**16
_SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
_REST = 4
"""Chunks that may still lie in the pipe when a program is over."""


class Ending(Enum):
    """Whether a program came to its end, or why it didn't."""

    EXITED = auto()
    NOT_STARTED = auto()
    LATE = auto()
    """It wasn't done in time."""
    STOPPED = auto()
    """The run was to end before it did."""
    ENDLESS = auto()
    """It printed more than it may."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended and what it printed.

    `status` is its exit status, or the negative number of the signal that ended it; 0 where it never exited. `why` are
    the system's words where it couldn't be started.
    """

    ending: Ending
    status: int = 0
    output: bytes = b""
    errors: bytes = b""
    why: str = ""


class StartError(Exception):
    """A program can't be started; the message is the system's."""


def read_program(
    command: Sequence[str],
    folder: Path,
    env: Mapping[str, str],
    *,
    timeout: float,
    limit: int,
    own_group: bool = True,
    stop: Event | None = None,
) -> Ended:
    """Run a program for what it prints: up to `limit` bytes of its output, and the end of its errors.

    It is over when nobody can print any more. Without an `own_group` it can ask its user on the terminal, and then only
    the program itself is ended where it must.

    Raises:
        LimitError: this machine has no room for it.
    """
    return _run(command, folder, env, _Printed(limit), timeout=timeout, stop=stop, own_group=own_group)


def watch_program(
    command: Sequence[str],
    folder: Path,
    env: Mapping[str, str],
    *,
    timeout: float,
    stop: Event,
    tail: int = MAX_TAIL,
    stdin: int = subprocess.DEVNULL,
) -> Ended:
    """Run a program for its exit status: of all that it prints, the last `tail` bytes are the output.

    It is over when it is, though something that it left behind still holds its outputs. It reads `stdin`, an open
    file's number.

    Raises:
        LimitError: this machine has no room for it.
    """
    return _run(command, folder, env, _Printed(None, tail), timeout=timeout, stop=stop, stdin=stdin)


def settled_program(
    command: Sequence[str], folder: Path | str, env: Mapping[str, str], *, timeout: float, stop: Event, talks_to: int
) -> Ended:
    """Run a program that goes on by itself once it has settled, for its exit status and the end of its errors.

    It is over when it is: what it leaves behind isn't waited for, and goes on. What it reads and writes as its standard
    input and output is the open file `talks_to`.

    Raises:
        LimitError: this machine has no room for it.
    """
    return _run(command, folder, env, _Printed(None), timeout=timeout, stop=stop, stdin=talks_to, stdout=talks_to)


@contextmanager
def started(
    command: Sequence[str],
    folder: Path | str,
    env: Mapping[str, str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    own_group: bool = True,
    grace: float = GRACE,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program for the time of the block; one that wasn't waited for is ended then.

    Raises:
        StartError: it can't be started.
        LimitError: this machine has no room for it.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=own_group,
        )
    except (OSError, ValueError) as error:
        if own := own_limit(error, starting=True):
            raise own from error
        raise StartError(getattr(error, "strerror", None) or str(error)) from error
    try:
        yield process
    finally:
        if process.returncode is None:  # it wasn't waited for, so its number still means it and its group
            with suppress(OSError):  # one of another user can't be ended
                if own_group:
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
        for pipe in (process.stdin, process.stdout, process.stderr):
            with suppress(OSError):  # what nobody reads any more can't be written
                if pipe is not None:
                    pipe.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)


def last_lines(printed: bytes, count: int = 1, longest: int = 500) -> str:
    """Give the last lines of what a program printed that say something, as one that can be shown."""
    lines = [line.strip() for line in printed.decode("utf-8", "replace").splitlines() if line.strip()]
    return printable("; ".join(lines[-count:])[:longest])


class _Printed:
    """What a program prints: the output up to a limit, or its end where that is None; and the end of the errors."""

    def __init__(self, limit: int | None, tail: int = MAX_TAIL) -> None:
        self.limit = limit
        self.output, self.errors = bytearray(), bytearray()
        self._tail = tail

    @property
    def too_much(self) -> bool:
        return self.limit is not None and len(self.output) > self.limit

    def take(self, chunk: bytes, *, error: bool) -> None:
        kept = self.errors if error else self.output
        kept += chunk
        if error or self.limit is None:
            del kept[: -self._tail]


def _run(
    command: Sequence[str],
    folder: Path | str,
    env: Mapping[str, str],
    printed: _Printed,
    *,
    timeout: float,
    stop: Event | None = None,
    own_group: bool = True,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
) -> Ended:
    whole = printed.limit is not None
    stderr = subprocess.PIPE if whole or stdout != subprocess.PIPE else subprocess.STDOUT
    try:
        with started(command, folder, env, stdin=stdin, stdout=stdout, stderr=stderr, own_group=own_group) as process:
            ending = _follow(process, printed, time.monotonic() + timeout, stop or Event(), whole=whole)
            status = process.returncode if ending is Ending.EXITED else 0
    except StartError as error:
        return Ended(Ending.NOT_STARTED, why=str(error))
    return Ended(ending, status, bytes(printed.output), bytes(printed.errors))


def _follow(
    process: subprocess.Popen[bytes], printed: _Printed, deadline: float, stop: Event, *, whole: bool
) -> Ending:
    """Collect what a program prints until its end, or until it must be ended; `whole`: all that can still come."""
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, pipe is process.stderr)
        while (whole and selector.get_map()) or process.poll() is None:
            if stop.is_set():
                return Ending.STOPPED
            if time.monotonic() > deadline:
                return Ending.LATE
            if selector.get_map():
                _listen(selector, printed, TICK)
            else:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(TICK)
            if printed.too_much:
                return Ending.ENDLESS
        for _ in range(_REST):
            _listen(selector, printed, 0)
    return Ending.EXITED


def _listen(selector: selectors.BaseSelector, printed: _Printed, patience: float) -> None:
    for key, _events in selector.select(patience) if selector.get_map() else ():
        chunk = os.read(key.fd, _CHUNK)
        if not chunk:
            selector.unregister(key.fileobj)
        printed.take(chunk, error=key.data)


def companion(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a program that works beside this process, and says what it says where this one does.

    Signals of the terminal don't reach it. It gets SIGTERM when this process is gone, however that came. It must be
    started before there are other threads.

    Raises:
        StartError: it can't be started.
    """
    import ctypes

    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def follow() -> None:
        prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:  # it was gone before that
            os._exit(1)

    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=follow)  # noqa: PLW1509 - as said: there is one thread
    except OSError as error:
        raise StartError(error.strerror or str(error)) from error
