"""Content kept here of what lies elsewhere, up to a size: what wasn't used for longest goes first.

* What is used is marked by its time of access. What is pinned stays, whichever process pinned it: a pin is a file with
  digests in it, which its process holds locked, so that one who was killed pins nothing.
* What is open stays readable for who opened it. More than the size lies here only while that much is pinned.
* Each content is brought by one thread of one process at a time; the others wait for it, and find it there.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from reconciler.content.local import mapped
from reconciler.errors import InterruptedRunError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from threading import Event

    from reconciler.content.local import LocalContent

_TURN = 0.05
_FRESH = 60.0
"""Seconds in which a use isn't marked again."""
_SLACK = 16
"""A part of the size: so much may come before the folder is counted again."""


class Cache:
    """Bounds the content of a folder; safe for several threads, and for several processes."""

    def __init__(self, local: LocalContent, limit: int, *, keep: Callable[[str], bool] = lambda _sha256: False) -> None:
        """Take the folder and its size in bytes; what must be kept (`keep`), since it lies nowhere else, stays."""
        self._local = local
        self.limit = limit
        self._keep = keep
        self._lock = Lock()
        self._came: int | None = None  # bytes that came since the folder was counted; None: it wasn't yet

    @contextmanager
    def turn(self, sha256: str, stop: Event) -> Iterator[None]:
        """Wait until nobody else brings this content.

        Raises:
            InterruptedRunError: the run is stopped meanwhile.
        """
        with mapped(self._local.root):
            folder = self._local.root / "locks"
            folder.mkdir(parents=True, exist_ok=True)
            number = os.open(folder / sha256[:3], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while not _locked(number):
                if stop.wait(_TURN):
                    raise InterruptedRunError("the run is stopped")
            yield
        finally:
            os.close(number)

    def used(self, path: Path) -> None:
        """Mark content as used now."""
        with suppress(OSError):  # it belongs to another user, or the disk is read-only
            found = path.stat()
            now = time.time_ns()
            if not 0 <= now - found.st_atime_ns < _FRESH * 1e9:
                os.utime(path, ns=(now, found.st_mtime_ns))

    @contextmanager
    def pinned(self, digests: Iterable[str]) -> Iterator[None]:
        """Have content stay for the time of the block, once it is here.

        Raises:
            StoreError: that can't be written down.
        """
        with mapped(self._local.root):
            folder = self._pins()
            folder.mkdir(parents=True, exist_ok=True)
            with self._guard(fcntl.LOCK_SH):
                number, name = tempfile.mkstemp(dir=folder)
                fcntl.flock(number, fcntl.LOCK_EX)
                os.write(number, "".join(f"{sha256}\n" for sha256 in digests).encode())
        try:
            yield
        finally:
            with suppress(OSError):
                Path(name).unlink(missing_ok=True)
            os.close(number)

    def came(self, size: int) -> None:
        """Count bytes that came, and make room where that is due.

        Raises:
            StoreError: the folder can't be read.
        """
        with self._lock, mapped(self._local.root):
            due = self._came is None or self._came + size > self.limit // _SLACK
            self._came = 0 if due else (self._came or 0) + size
            if due:
                self._make_room()

    def _make_room(self) -> None:
        """Let go of what wasn't used for longest, until the rest fits and leaves room for what comes uncounted."""
        found = []
        for path in self._local.folder.glob("??/*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_atime_ns, status.st_size, path))
        size = sum(entry[1] for entry in found)
        if size <= self.limit:
            return
        with self._guard(fcntl.LOCK_EX):  # what is pinned from here on is looked for after this
            pinned = self._all_pinned()
            for _used, own, path in sorted(found):
                if size <= self.limit - self.limit // _SLACK:
                    return
                if path.name not in pinned and not self._keep(path.name):
                    path.unlink(missing_ok=True)
                    size -= own

    def _all_pinned(self) -> set[str]:
        """Give what any process has pinned; the pins of those that are gone are removed."""
        pinned: set[str] = set()
        for pin in self._pins().glob("*"):
            with suppress(FileNotFoundError), pin.open("rb") as file:
                if _locked(file.fileno()):
                    pin.unlink(missing_ok=True)
                else:
                    pinned.update(file.read().decode("ascii", "replace").split())
        return pinned

    @contextmanager
    def _guard(self, kind: int) -> Iterator[None]:
        """Keep pins from being made while room is; both take a moment."""
        number = os.open(self._pins().with_name("pins.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(number, kind)
            yield
        finally:
            os.close(number)

    def _pins(self) -> Path:
        return self._local.root / "pins"


def _locked(number: int) -> bool:
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
