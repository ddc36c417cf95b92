"""Running a program that the spec names, and reading what it prints within limits."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from reconciler.errors import InventoryError, own_limit, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAX_OUTPUT = 512 * 2**20
"""Bytes; a million hosts with a few vars each."""
MAX_STDERR = 64 * 2**10
SHOWN_LINES = 5
GRACE = 5.0
"""Seconds that the system may need to end a program."""
_CHUNK = 2**16


def run_program(
    command: Sequence[str], folder: Path, env: Mapping[str, str], *, timeout: float, limit: int | None = None
) -> bytes:
    """Run a program without a shell and give what it printed.

    Raises:
        InventoryError: it can't be started, ended with another status than 0, took longer than `timeout` seconds, or
            printed more than `limit` bytes (left out: MAX_OUTPUT).
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        if own := own_limit(error, starting=True):
            raise own from error
        raise InventoryError(f"the inventory program {command[0]} can't be started: {_why(error)}") from error
    try:
        output, errors = _communicate(process, command[0], timeout, MAX_OUTPUT if limit is None else limit)
    except BaseException:
        _kill(process)
        raise
    finally:
        for stream in (process.stdout, process.stderr):
            _pipe(stream).close()
    if process.returncode:
        raise InventoryError(
            f"the inventory program {command[0]} ended with status {process.returncode}", hint=_last_lines(errors)
        )
    return output


def _communicate(process: subprocess.Popen[bytes], name: str, timeout: float, limit: int) -> tuple[bytes, bytes]:
    """Read all that a program prints, and wait for its end."""
    deadline = time.monotonic() + timeout
    too_late = InventoryError(
        f"the inventory program {name} wasn't done after {timeout:.0f} s and was stopped",
        hint="raise `timeout` of the inventory if it needs longer",
    )
    output, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout, process.stderr):
            selector.register(_pipe(stream), selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(deadline - time.monotonic(), 0))
            if not ready or time.monotonic() > deadline:
                raise too_late
            for key, _events in ready:
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stdout:
                    output += chunk
                else:
                    errors = (errors + chunk)[-MAX_STDERR:]
            if len(output) > limit:
                raise InventoryError(f"the inventory program {name} printed more than {limit} bytes")
    try:
        process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        raise too_late from None
    return bytes(output), bytes(errors)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it started; it wasn't waited for yet, so its number still means its group."""
    with suppress(OSError, subprocess.TimeoutExpired):  # a program of another user can't be ended
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(GRACE)


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None, "both streams were asked for as pipes"
    return stream


def _last_lines(errors: bytes) -> str:
    lines = [line.strip() for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
    shown = "; ".join(lines[-SHOWN_LINES:]) or "it said nothing on its standard error"
    return printable(shown[:2000])


def _why(error: OSError | ValueError) -> str:
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
