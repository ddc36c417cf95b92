"""A connection that is over when its time is: a server that sends a byte now and then would keep it for ever."""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager, suppress
from threading import Timer
from typing import TYPE_CHECKING

from reconciler.errors import NotifierError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Deadline:
    """The time until which something is to be done."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._at = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left.

        Raises:
            NotifierError: none.
        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise NotifierError(self.says)
        return left

    @property
    def over(self) -> bool:
        """True when no time is left."""
        return time.monotonic() >= self._at

    @property
    def says(self) -> str:
        """What is said when it is over."""
        return f"it wasn't done after {self.seconds:g} s"

    @contextmanager
    def cuts(self, connection: socket.socket) -> Iterator[None]:
        """Cut a connection at that time, whatever is spoken on it by then."""
        twin = connection.dup()
        timer = Timer(self.left, _cut, (twin,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            twin.close()


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
