"""One process at a time, and one thread of it: for folders of sources that can't be written by two at once."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

from reconciler.errors import InterruptedRunError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from threading import Event

LOCK_WAIT = 60.0
"""Seconds to wait for another process that reads the same source."""


class Turn:
    """Whose turn it is, by a lock on a file; who has it may take it once more."""

    def __init__(self, file: Path, stop: Event) -> None:
        """Take the file, whose folder needn't be there yet."""
        self._file = file
        self._stop = stop
        self._mine = RLock()
        self._depth = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn, and have it for the time of the block.

        Raises:
            SourceError: another process doesn't give it away, or there can be no lock.
            InterruptedRunError: the run is stopped before it comes.
        """
        with self._mine:
            if not self._depth:
                number = self._locked()
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if not self._depth:
                    os.close(number)

    def _locked(self) -> int:
        try:
            number = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SourceError(f"{self._file} can't be used: {error.strerror}") from error
        deadline = time.monotonic() + LOCK_WAIT
        while True:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if time.monotonic() > deadline or self._stop.wait(0.1):
                    os.close(number)
                    if self._stop.is_set():
                        raise InterruptedRunError("the run is stopped") from error
                    raise SourceError("another process has been reading this source for a minute") from error
            else:
                return number
