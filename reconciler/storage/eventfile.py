"""The file that a run's events are appended to. A run never waits for it for long, and never ends because of it."""

from __future__ import annotations

import errno
import os
import select
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from reconciler.errors import UpdoserError
from reconciler.files import open_to_append

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PATIENCE = 10_000
"""Milliseconds that the reader of a FIFO may let a run wait."""
_FOR_NOW = {errno.ENXIO, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ESTALE}
"""What can go wrong with the right path on a bad day; all else is a mistake in the path."""


@contextmanager
def event_file(path: Path, lose: Callable[[str, OSError], None]) -> Iterator[Callable[[str], None]]:
    """Give what appends a line of text. `lose` is told once what can't be written and why; lines are lost from then on.

    Raises:
        UpdoserError: the path is none that could be written.
    """
    name = f"the events in {path}"
    try:
        number = open_to_append(path)
    except OSError as error:
        if error.errno not in _FOR_NOW:
            raise UpdoserError(f"{path} can't be written: {error.strerror}") from error
        lose(name, error)
        yield lambda _line: None
        return
    well = True

    def append(line: str) -> None:
        nonlocal well
        if well:
            try:
                _append(number, line.encode())
            except OSError as error:
                well = False
                lose(name, error)

    try:
        yield append
    finally:
        try:
            os.close(number)
        except OSError as error:  # a file system that writes late
            if well:
                lose(name, error)


def _append(number: int, data: bytes) -> None:
    """Write a line whole, or take back what was written of it, so that the next run's first line stands alone."""
    end = os.fstat(number).st_size
    done = 0
    try:
        while done < len(data):
            try:
                done += os.write(number, data[done:])
            except BlockingIOError:
                waiting = select.poll()
                waiting.register(number, select.POLLOUT)
                if not waiting.poll(_PATIENCE):
                    raise OSError(errno.ETIMEDOUT, "its reader doesn't read") from None
    except OSError:
        with suppress(OSError):  # what is no file can't be cut; nobody else's line is cut off
            if done and os.fstat(number).st_size == end + done:
                os.ftruncate(number, end)
        raise
