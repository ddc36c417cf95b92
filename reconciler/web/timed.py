"""An answer of a web server whose every part comes in time, or not at all.

A time-out of a socket begins anew with each byte, and what stands around a file has no end that is known: the head, the
answer of a proxy, the sizes of chunks and the lines behind the last one. All that is read at a stretch has LIMIT
seconds together. What a file may take as a whole, and how slowly its own bytes may come, is `stream`'s business.
"""

from __future__ import annotations

import io
import time
from contextlib import suppress
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

_AHEAD = 16 * 1024
"""Bytes that are read at once: most heads, and the small files behind them."""
LIMIT = 120.0
"""Seconds for the head of an answer, and for each piece that is read of the rest."""


class Timed(HTTPResponse):
    """The answer to a request, or of a proxy to the wish for a tunnel; `status_read` is what its first line says."""

    status_read: int | None = None

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._wire = _Wire(self.fp.detach(), sock)
        self._wire.begin("the head of the answer wasn't complete")
        self.fp = io.BufferedReader(self._wire, _AHEAD)

    def _read_status(self) -> tuple[str, int, str]:
        """Read the first line; nothing else tells the status of a proxy that refuses a tunnel."""
        version, self.status_read, reason = super()._read_status()  # type: ignore[misc] # its types don't know it
        return version, self.status_read, reason

    def read(self, amt: int | None = None) -> bytes:
        """Read at most `amt` bytes; see `http.client`."""
        self._wire.begin(_PIECE)
        return super().read(amt)

    def read1(self, n: int = -1) -> bytes:
        """Read what one look at the wire gives; see `http.client`."""
        self._wire.begin(_PIECE)
        return super().read1(n)


_PIECE = "the next piece of the answer wasn't there"


class _Wire(io.RawIOBase):
    """The bytes of a connection, until the time for what is read at the moment is over."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket) -> None:
        self._raw = raw
        self._sock = sock
        self._patience = sock.gettimeout()
        self._until = 0.0
        self._late = ""

    def begin(self, late: str) -> None:
        """Give what is read now its time; `late` says what wasn't so when that is over."""
        self._until = time.monotonic() + LIMIT
        self._late = late

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"{self._late} after {LIMIT:.0f} s")
        if self._patience is not None and left >= self._patience:
            return self._raw.readinto(buffer)  # the time-out that the socket has ends first
        self._sock.settimeout(left)
        try:
            return self._raw.readinto(buffer)
        except TimeoutError:
            raise TimeoutError(f"{self._late} after {LIMIT:.0f} s") from None
        finally:
            with suppress(OSError):  # it is closed already
                self._sock.settimeout(self._patience)

    def close(self) -> None:
        self._raw.close()
        super().close()
