"""Running a program of a check: within its time, until it is stopped, with the last lines that it said."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from reconciler.errors import own_limit, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from threading import Event

MAX_OUTPUT = 64 * 2**10
"""Bytes of the end of what a program says, on both of its outputs, that are kept."""
MAX_SHOWN = 500
TICK = 0.05
"""Seconds between two looks at whether it is over or is to be stopped."""
GRACE = 5.0
"""Seconds that the system may need to end a program."""
_CHUNK = 2**16
_REST = 4
"""Chunks that may still lie in the pipe when a program is over."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit status, or in `problem` why there is none; and the last line that it said."""

    status: int | None
    said: str = ""
    problem: str = ""


def run_program(command: Sequence[str], folder: Path, env: Mapping[str, str], *, timeout: float, stop: Event) -> Ended:
    """Run a program without a shell, with nothing to read; it ends with all that it started when it must.

    A program that is over is over, though something that it left behind still holds its outputs.

    Raises:
        LimitError: this machine has no room for it.
    """
    if stop.is_set():
        return Ended(None, problem="it was stopped before it began")
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        if own := own_limit(error, starting=True):
            raise own from error
        return Ended(None, problem=f"{command[0]} can't be started: {_why(error)}")
    output = bytearray()
    try:
        problem = _watch(process, output, timeout, stop)
    finally:
        _kill(process)
        _pipe(process).close()
    return Ended(None if problem else process.returncode, _last_line(output), problem)


def _watch(process: subprocess.Popen[bytes], output: bytearray, timeout: float, stop: Event) -> str:
    """Wait for a program's end, and give the reason why it must be ended."""
    deadline = time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        selector.register(_pipe(process), selectors.EVENT_READ)
        while process.poll() is None:
            if stop.is_set():
                return "it was stopped before it was done"
            if time.monotonic() > deadline:
                return f"it wasn't done after {timeout:g} s and was stopped"
            if selector.get_map():
                _listen(selector, output, TICK)
            else:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(TICK)
        for _ in range(_REST):
            _listen(selector, output, 0)
    return ""


def _listen(selector: selectors.BaseSelector, output: bytearray, patience: float) -> None:
    for key, _events in selector.select(patience) if selector.get_map() else ():
        chunk = os.read(key.fd, _CHUNK)
        if not chunk:
            selector.unregister(key.fileobj)
        output += chunk
        del output[:-MAX_OUTPUT]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program that isn't over, and all that it started; it wasn't waited for, so its number means its group."""
    if process.returncode is None:
        with suppress(OSError, subprocess.TimeoutExpired):  # a program of another user can't be ended
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(GRACE)


def _pipe(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None, "it was asked for as a pipe"
    return process.stdout


def _last_line(output: bytearray) -> str:
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
    return printable(lines[-1][:MAX_SHOWN]) if lines else ""


def _why(error: OSError | ValueError) -> str:
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
