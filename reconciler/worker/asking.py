"""Content that a worker lacks, asked for on the line to its controller.

It is a place as any other (`contracts.ContentPlace`): what comes is verified and kept by whoever brings it, which asks
once however many clients need it, and goes on from where a line broke.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from itertools import count
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, cast

from reconciler.errors import StoreError, UpdoserError
from reconciler.formats.frames import Kind, number_frame, want_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from reconciler.model.batch import Batch
    from reconciler.model.deploy import Step

_MOST = 2**32 - 1


class Asking:
    """The `ContentPlace` at the other end of a line. Used by many threads; what comes is told by one."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        """Take what sends a message."""
        self._send = send
        self._lock = Lock()
        self._numbers = count(1)
        self._open: dict[int, SimpleQueue[bytes | UpdoserError]] = {}
        self._sizes: dict[str, int] = {}
        self._gone: UpdoserError | None = None

    def learn(self, batch: Batch) -> None:
        """Note the sizes of what a batch names: nothing else is there."""
        for step in _steps(batch):
            self._sizes.update((part.sha256, part.size) for part in step.payload)
            self._sizes.update((file.sha256, file.size) for file in step.files)

    def size(self, sha256: str) -> int | None:
        """Give the size of content that a batch named."""
        return self._sizes.get(sha256)

    @contextmanager
    def open(self, sha256: str, start: int = 0) -> Iterator[BinaryIO]:
        """Open content, to be read from its byte `start` on; see `contracts.ContentPlace`."""
        came: SimpleQueue[bytes | UpdoserError] = SimpleQueue()
        with self._lock:
            if self._gone is not None:
                raise StoreError(self._gone.message)
            number = next(self._numbers) % _MOST
            self._open[number] = came
        self._send(want_frame(number, sha256, start))
        stream = _Stream(came, lambda size: self._send(number_frame(Kind.GOT, size)))
        try:
            yield cast("BinaryIO", stream)
        finally:
            with self._lock:
                self._open.pop(number, None)
            if not stream.over:
                stream.give_back()
                self._send(number_frame(Kind.LEAVE, number))

    def piece(self, number: int, data: bytes) -> None:
        """Take some content; what nobody reads any more is taken as well."""
        with self._lock:
            came = self._open.get(number)
            if came is not None:
                came.put(data)
        if came is None:
            self._send(number_frame(Kind.GOT, len(data)))

    def end(self, number: int, error: UpdoserError | None = None) -> None:
        """Note that no more comes for a question: it came as a whole, or `error` is why not."""
        with self._lock:
            came = self._open.pop(number, None)
        if came is not None:
            came.put(b"" if error is None else error)

    def leave(self, error: UpdoserError) -> None:
        """Note why nothing comes any more."""
        with self._lock:
            self._gone = error
            waiting, self._open = list(self._open.values()), {}
        for came in waiting:
            came.put(error)


class _Stream(io.RawIOBase):
    """Content as it comes."""

    def __init__(self, came: SimpleQueue[bytes | UpdoserError], took: Callable[[int], None]) -> None:
        super().__init__()
        self._came = came
        self._took = took
        self._rest = memoryview(b"")
        self.over = False

    def read(self, size: int = -1, /) -> bytes:
        """Read some bytes, at most `size`; none at the end."""
        if not self._rest and not self.over:
            piece = self._came.get()
            if isinstance(piece, UpdoserError):
                self.over = True
                raise StoreError(piece.message, hint=piece.hint)
            self.over = not piece
            self._rest = memoryview(piece)
            if piece:
                self._took(len(piece))
        cut = len(self._rest) if size < 0 else size
        data, self._rest = bytes(self._rest[:cut]), self._rest[cut:]
        return data

    def give_back(self) -> None:
        """Take what came and nobody reads."""
        while not self._came.empty():
            piece = self._came.get()
            if isinstance(piece, bytes) and piece:
                self._took(len(piece))


def _steps(batch: Batch) -> Iterable[Step]:
    shared = getattr(batch.task, "steps", ()), getattr(batch.task, "early", ())
    yield from (step for steps in shared for step in steps)
    yield from (step for target in batch.targets for step in target.steps)
