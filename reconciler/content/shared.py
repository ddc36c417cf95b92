"""The content of a store that several machines share: it lies in a place elsewhere, and here is a cache of it.

* What comes is verified here first, and brought to the place then. A release is held when all of its content is there.
* Where the place can only be read, what comes stays here, and what isn't here is taken from there.
* What only lies here isn't let go of to make room.
* What is found damaged there is told to all, and counts as missing until somebody brings it again.
* What nobody names any more is removed a while later, as somebody elsewhere may be about to read it, and only where all
  who use the place are known: other users' content isn't ours to remove.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack, contextmanager
from functools import cached_property
from threading import Event, Lock
from typing import TYPE_CHECKING, BinaryIO, Protocol

from reconciler.content.cache import Cache
from reconciler.content.contents import CachedContents
from reconciler.content.places import PlacesStream
from reconciler.contracts import WritablePlace
from reconciler.errors import DamagedError, StoreError
from reconciler.web.stream import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from reconciler.content.arrivals import Readable, Wanted
    from reconciler.content.belief import Look
    from reconciler.content.local import LocalContent
    from reconciler.contracts import ContentPlace

FRESH = 60.0
"""Seconds for which what a place listed is believed."""
JUST_NOW = 2.0
"""And for which what it didn't list isn't there: others bring content all the time."""


class Records(Protocol):
    """What all who use a place know of its content."""

    def user(self) -> str:
        """Give by which name this one uses the place."""

    def damaged(self, found: Collection[str], mended: Collection[str]) -> Collection[str]:
        """Add what was found damaged, take out what was brought again, and give all that is damaged."""

    def leave(self, digests: Collection[str]) -> None:
        """Say that nobody names content any more."""

    def left(self) -> Collection[str]:
        """Give what was left long enough ago."""

    def gone(self, digests: Collection[str]) -> None:
        """Say that content is removed."""


class SharedContent:
    """The content of a store that lies in a place; None is one that this run may not connect to.

    What looks and what writes down is called from one thread, and before all else, which several may call.
    """

    def __init__(
        self,
        place: Callable[[], ContentPlace | None],
        local: LocalContent,
        limit: int,
        *,
        records: Records,
        stop: Event | None = None,
    ) -> None:
        """Take what gives the place, the folder and the size of the cache; ask for nothing yet."""
        self._open_place = place
        self._local = local
        self._records = records
        self._user = ""
        self._lock = Lock()
        self._listed: dict[str, int] = {}
        self._listed_at: float | None = None
        self._joined = False
        self._damaged: Collection[str] = ()
        self._found: set[str] = set()
        self._mended: set[str] = set()
        self._brought: set[str] = set()
        self._stop = stop or Event()
        self._cache = Cache(local, limit, keep=self._lies_only_here)

    @cached_property
    def _place(self) -> ContentPlace | None:
        return self._open_place()

    @property
    def _writable(self) -> WritablePlace | None:
        return self._place if isinstance(self._place, WritablePlace) else None

    @cached_property
    def _contents(self) -> CachedContents:
        places = [self._place] if self._place is not None else []
        return CachedContents(places, self._local, self._cache, self._stop)

    # --- reading ------------------------------------------------------------------------------------------------------

    def look(self, *, verify: bool = False) -> SharedLook:
        """Begin to look at content; `verify` reads and hashes all that is looked at.

        Raises:
            StoreError: the place can't be asked.
        """
        self.tell()
        if self._writable is not None and (self._listed_at is None or time.monotonic() - self._listed_at > FRESH):
            listed = {entry.sha256: entry.size for entry in self._writable.entries()}
            with self._lock:
                self._listed, self._listed_at = listed, time.monotonic()
        return SharedLook(self, self._local.look(verify=verify), verify=verify)

    def tell(self) -> None:
        """Write down what was found damaged and what was brought again, and learn what others found."""
        with self._lock:
            found, mended, self._found, self._mended = self._found, self._mended, set(), set()
        self._user = self._records.user()
        self._damaged = self._records.damaged(found, mended)

    def trouble_there(self, file: Wanted, *, verify: bool) -> str:
        """Say what is wrong with content in the place; empty where nothing is.

        Raises:
            StoreError: the place can't be asked.
        """
        if self._place is None:
            return ""  # what it is like there isn't looked at
        if file.sha256 in self._damaged and not verify:
            return f"{file.sha256} is damaged where the content is"
        size = self._size_there(file.sha256)
        if size is None:
            return f"{file.sha256} isn't where the content is"
        if size != file.size:
            return f"{file.sha256} has {size} bytes where the content is, not {file.size}"
        if verify:
            sound = self._is_sound_there(file)
            with self._lock:
                (self._mended if sound else self._found).add(file.sha256)
            if not sound:
                return f"{file.sha256} has other bytes than its name says where the content is"
        return ""

    @contextmanager
    def open(self, sha256: str) -> Iterator[BinaryIO]:
        """Open content that is what its name says.

        Raises:
            StoreError: it can't be had, or is damaged.
        """
        with ExitStack() as stack:
            with self._noticing(sha256):
                file = stack.enter_context(self._contents.open(sha256, self._listed.get(sha256)))
            yield file

    @contextmanager
    def local(self, sha256: str) -> Iterator[Path]:
        """Give a path of content on this machine for the time of the block.

        Raises:
            StoreError: it can't be had, or is damaged.
        """
        with ExitStack() as stack:
            with self._noticing(sha256):
                path = stack.enter_context(self._contents.local(sha256, self._listed.get(sha256)))
            yield path

    def pinned(self, digests: Iterable[str]) -> AbstractContextManager[None]:
        """Have content stay here for the time of the block, once it was brought."""
        return self._contents.pinned(digests)

    def check(self, sha256: str) -> None:
        """Have content be here, and be what its name says.

        Raises:
            StoreError: it can't be had, or is damaged.
        """
        with self._noticing(sha256):
            self._contents.bring(sha256, self._listed.get(sha256))

    def has(self, sha256: str) -> bool:
        """Say whether content is here or in the place.

        Raises:
            StoreError: the place can't be asked.
        """
        if self._local.path(sha256).exists():
            return True
        return self._place is not None and sha256 not in self._damaged and self._size_there(sha256) is not None

    def free(self) -> int:
        """Give the room on this machine in bytes: all that comes passes through here.

        Raises:
            StoreError: it can't be asked.
        """
        return self._local.free()

    # --- writing ------------------------------------------------------------------------------------------------------

    def receive(self, file: Wanted, stream: Readable) -> int:
        """Take content from a stream, and bring it to the place; give its size.

        Raises:
            DamagedError: it isn't what `file` says.
            StoreError: it can't be written, or the place doesn't take it.
        """
        with self._cache.pinned([file.sha256]):
            size = self._local.receive(file, stream)
            self._bring_there(file)
            self._cache.came(size)
        return size

    def secure(self, files: Iterable[Wanted]) -> None:
        """See to it that content is where it must be before a manifest says that it is held.

        Raises:
            StoreError: some of it is nowhere, or can't be brought there. OSError: the disk fails.
        """
        wanted = {file.sha256: file for file in files}
        if self._writable is None:
            self._local.sync([file for file in wanted.values() if self._local.path(file.sha256).exists()])
            return
        for file in wanted.values():
            if file.sha256 in self._brought:
                continue
            if file.sha256 in self._damaged or self._writable.size(file.sha256) != file.size:
                self._local.sound(file.sha256)
                self._bring_there(file)

    def _bring_there(self, file: Wanted) -> None:
        if self._writable is None:
            return
        if not self._joined:
            self._user = self._user or self._records.user()
            self._writable.join(self._user)
            self._joined = True
        self._writable.put(file.sha256, self._local.path(file.sha256))
        with self._lock:
            self._listed[file.sha256] = file.size
            self._brought.add(file.sha256)
            self._mended.add(file.sha256)
            self._found.discard(file.sha256)

    def drop(self, digests: Collection[str]) -> None:
        """Let go of content that no manifest names any more."""
        if self._writable is None:
            self._local.drop(digests)
            return
        self._records.leave(digests)
        with self._lock:
            self._brought.difference_update(digests)

    def sweep(self, used: Collection[str]) -> str:
        """Remove what was left long enough ago and isn't `used`; say why it isn't, where that is so.

        Raises:
            StoreError: the place can't be asked, or doesn't remove it.
        """
        if self._writable is None:
            return ""
        self.tell()
        left = set(self._records.left())
        goes = left - set(used)
        if goes:
            others = sorted(set(self._writable.users()) - {self._user})
            if others:
                return f"{len(goes)} contents that nobody needs here stay: others use the place, too ({others[0]})"
        for sha256 in sorted(goes):
            self._writable.delete(sha256)
            self._records.gone([sha256])
            with self._lock:
                self._listed.pop(sha256, None)
        self._records.gone(left - goes)
        return ""

    # --- within -------------------------------------------------------------------------------------------------------

    def _size_there(self, sha256: str) -> int | None:
        assert self._place is not None
        with self._lock:
            known = self._listed.get(sha256)
        listed_at = self._listed_at if self._writable is not None else None
        if known is not None or (listed_at is not None and time.monotonic() - listed_at < JUST_NOW):
            return known
        size = self._place.size(sha256)
        if size is not None:
            with self._lock:
                self._listed[sha256] = size
        return size

    def _lies_only_here(self, sha256: str) -> bool:
        try:
            return self._place is None or sha256 in self._damaged or self._size_there(sha256) is None
        except StoreError:
            return True

    def _is_sound_there(self, file: Wanted) -> bool:
        assert self._place is not None
        digest = hashlib.sha256()
        size = 0
        with PlacesStream([self._place], file.sha256, file.size, self._stop) as stream:
            while size <= file.size and (chunk := stream.read(CHUNK)):
                size += len(chunk)
                digest.update(chunk)
        return size == file.size and digest.hexdigest() == file.sha256

    @contextmanager
    def _noticing(self, sha256: str) -> Iterator[None]:
        try:
            yield
        except DamagedError:
            with self._lock:
                self._found.add(sha256)
            raise


class SharedLook:
    """One look at content, here and in the place."""

    def __init__(self, content: SharedContent, local: Look, *, verify: bool) -> None:
        """Take what is looked at."""
        self._content = content
        self._local = local
        self._verify = verify
        self._there: dict[str, str] = {}

    def trouble(self, file: Wanted) -> str:
        """Say what is wrong with the content of a file; empty when nothing is.

        Raises:
            StoreError: the place can't be asked. OSError: what is here can't be read.
        """
        if not self._local.trouble(file):
            return ""
        if file.sha256 not in self._there:
            self._there[file.sha256] = self._content.trouble_there(file, verify=self._verify)
        return self._there[file.sha256]

    def keep(self) -> None:
        """Remember what was found here, and tell what was found there."""
        self._local.keep()
        if self._verify:
            self._content.tell()
