"""Small content kept in memory while many clients are sent the same: the files of a wave are opened once, not by each.

What is kept was held against its digest when it was read, so that it is what its name says whatever becomes of the
place it came from. Large content is read from there each time: memory doesn't grow with the size of a file.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

LARGEST = 256 * 1024
"""Bytes of one content that is kept."""
ROOM = 16 * 1024 * 1024
"""Bytes of all that is kept."""


class SmallInMemory:
    """Opens content by its SHA-256, small ones from memory. Used by several threads at once."""

    def __init__(
        self, content: Callable[[str], AbstractContextManager[BinaryIO]], *, largest: int = LARGEST, room: int = ROOM
    ) -> None:
        """Take what opens content, and how much of it is kept."""
        self._content = content
        self._largest = largest
        self._room = room
        self._lock = Lock()
        self._kept: dict[str, bytes] = {}
        self._size = 0

    @contextmanager
    def open(self, sha256: str) -> Iterator[BinaryIO]:
        """Open content.

        Raises:
            UpdoserError: what opens it says why it can't be had.
        """
        known = self._kept.get(sha256)
        if known is not None:
            yield BytesIO(known)
            return
        with self._content(sha256) as stream:
            start = self._start_of(stream)
            if len(start) <= self._largest and hashlib.sha256(start).hexdigest() == sha256:
                self._keep(sha256, start)
            yield cast("BinaryIO", _Whole(start, stream))

    def _start_of(self, stream: BinaryIO) -> bytes:
        """Read until there is more than is kept of one, or no more: a line from elsewhere gives it in pieces."""
        pieces, size = [], 0
        while size <= self._largest and (piece := stream.read(self._largest + 1 - size)):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    def _keep(self, sha256: str, data: bytes) -> None:
        """Keep content; what was kept first goes where there is no room."""
        with self._lock:
            if sha256 in self._kept:
                return
            self._kept[sha256] = data
            self._size += len(data)
            while self._size > self._room:
                self._size -= len(self._kept.pop(next(iter(self._kept))))


class _Whole:
    """A stream of which the start was read already."""

    def __init__(self, start: bytes, rest: BinaryIO) -> None:
        self._start = memoryview(start)
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        """Read so many bytes, or all that are left; fewer only where the stream gives fewer."""
        data = bytes(self._start if size < 0 else self._start[:size])
        self._start = self._start[len(data) :]
        if size < 0:
            return data + self._rest.read()
        return data + self._rest.read(size - len(data)) if len(data) < size else data
