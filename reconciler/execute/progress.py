"""How far the downloads of a run are, or what is fetched: bytes, rate, and the time that is left."""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

from reconciler.errors import InterruptedRunError
from reconciler.model.work_events import DownloadProgress
from reconciler.present.words import size_text, span_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from reconciler.workspace import Means

EVERY = 1.0
"""Seconds between two reports."""
_MEMORY = 10.0
"""Seconds over which the rate is measured."""


class Progress:
    """Counts bytes from several threads; tells of them from one."""

    pause = 0.2

    def __init__(self, total: int | None, means: Means, *, what: str = "downloaded") -> None:
        """Take how many bytes there are (None: nobody knows), and what is done with them, in words."""
        self._total = total
        self._what = what
        self._means = means
        self._lock = Lock()
        self._done = 0
        self._told_at = time.monotonic()
        self._marks = [(self._told_at, 0)]

    def add(self, size: int) -> None:
        """Count bytes that came; fewer than none, when they came in vain."""
        with self._lock:
            self._done += size

    def tell(self, *, last: bool = False) -> None:
        """Tell how far it is, if that was told long enough ago and there is anything to tell."""
        now = time.monotonic()
        if self._total == 0 or (now - self._told_at < EVERY and not (last and len(self._marks) > 1)):
            return
        self._told_at = now
        with self._lock:
            done = self._done if self._total is None else min(self._done, self._total)
        if not done and self._total is None:
            return
        self._marks = [mark for mark in self._marks if now - mark[0] <= _MEMORY] or self._marks[-1:]
        since, before = self._marks[0]
        self._marks.append((now, done))
        rate = max(done - before, 0) / max(now - since, 0.001)
        left = (self._total - done) / rate if rate and self._total is not None else None
        of = "" if self._total is None else f" of {size_text(self._total)}"
        text = f"{self._what} {size_text(done)}{of}, {size_text(rate)}/s"
        self._means.emit(
            DownloadProgress(
                text + (f", {span_text(left)} left" if left else ""),
                bytes=done,
                total=done if self._total is None else self._total,
                rate=round(rate),
                seconds_left=None if left is None else round(left),
            )
        )


class Watched:
    """A stream that counts what is read from it, and ends with InterruptedRunError when the run is stopped."""

    def __init__(self, stream: BinaryIO, stop: Event, count: Callable[[int], None]) -> None:
        self._stream = stream
        self._stop = stop
        self._count = count
        self._counted = 0

    def read(self, size: int) -> bytes:
        """Read some bytes, at most `size`."""
        if self._stop.is_set():
            raise InterruptedRunError("interrupted while downloading")
        data = self._stream.read(size)
        self._add(len(data))
        return data

    def seekable(self) -> bool:
        """Say whether the beginning can be passed over."""
        return self._stream.seekable()

    def seek(self, offset: int) -> int:
        """Pass over the beginning."""
        self._add(offset)
        return self._stream.seek(offset)

    def take_back(self) -> None:
        """Count what was read as if it hadn't been."""
        self._add(-self._counted)

    def _add(self, size: int) -> None:
        self._counted += size
        self._count(size)
