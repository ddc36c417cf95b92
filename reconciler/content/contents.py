"""Content opened by its digest, for whoever sends it to clients: from a folder, or brought into one from elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, BinaryIO, Protocol

from reconciler.content.cache import Cache
from reconciler.content.local import LocalContent, mapped
from reconciler.content.places import bring, size_in
from reconciler.errors import DamagedError, StoreError
from reconciler.model.release import ReleaseFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from reconciler.contracts import ContentPlace


class Contents(Protocol):
    """Opens content by its digest. Used by several threads, and in several processes, at once."""

    def open(self, sha256: str, size: int | None = None) -> AbstractContextManager[BinaryIO]:
        """Open content; all of it was verified before this gives its first byte. `size` is its size where it is known.

        Raises:
            StoreError: it can't be had, or is damaged.
            InterruptedRunError: the run is stopped meanwhile.
        """


class FolderContents:
    """The `Contents` of a folder in which all of it lies, such as a store: `<root>/content/<aa>/<sha256>`."""

    def __init__(self, root: Path) -> None:
        """Take the folder; nothing is brought there."""
        self._local = LocalContent(root)

    def open(self, sha256: str, size: int | None = None) -> AbstractContextManager[BinaryIO]:
        """See `Contents.open`."""
        del size
        return self._local.open(sha256)


class CachedContents:
    """The `Contents` of places elsewhere, kept in a folder of this machine up to a size.

    The places are asked in their order. Each content is brought once, however many ask for it at the same time.
    """

    def __init__(
        self,
        places: Sequence[ContentPlace],
        local: LocalContent,
        cache: Cache,
        stop: Event | None = None,
    ) -> None:
        """Ask none yet."""
        self._places = places
        self._local = local
        self._cache = cache
        self._stop = stop or Event()

    @classmethod
    def at(cls, folder: Path, limit: int, places: Sequence[ContentPlace], stop: Event | None = None) -> CachedContents:
        """Give the contents of some places, kept in a folder of at most `limit` bytes."""
        local = LocalContent(folder)
        return cls(places, local, Cache(local, limit), stop)

    @contextmanager
    def open(self, sha256: str, size: int | None = None) -> Iterator[BinaryIO]:
        """See `Contents.open`."""
        with self._opened(self.bring(sha256, size), sha256, size) as file:
            yield file

    @contextmanager
    def local(self, sha256: str, size: int | None = None) -> Iterator[Path]:
        """Give the path of content on this machine, which stays for the time of the block.

        Raises:
            StoreError, InterruptedRunError: as for `open`.
        """
        with self._cache.pinned([sha256]):
            yield self.bring(sha256, size)

    @contextmanager
    def pinned(self, digests: Iterable[str]) -> Iterator[None]:
        """Have content stay here for the time of the block, once it was brought."""
        with self._cache.pinned(digests):
            yield

    def bring(self, sha256: str, size: int | None = None) -> Path:
        """Have content be here, and give its path: somebody else may let go of it at once, unless it is pinned.

        Raises:
            StoreError, InterruptedRunError: as for `open`.
        """
        found = self._here(sha256)
        if found is not None:
            return found
        with self._cache.turn(sha256, self._stop):
            found = self._here(sha256)
            if found is not None:
                return found
            wanted = ReleaseFile(sha256, self._size(sha256) if size is None else size, sha256)
            with self._cache.pinned([sha256]):
                self._cache.came(bring(wanted, self._places, self._local, self._stop))
        return self._local.path(sha256)

    def _size(self, sha256: str) -> int:
        """Give the size of content that nobody named, as a place says it: one that lies can fill the cache at most."""
        size = size_in(self._places, sha256)
        if size > self._cache.limit:
            raise StoreError(f"{sha256} has {size} bytes, and the cache only {self._cache.limit}")
        return size

    def _here(self, sha256: str) -> Path | None:
        """Give the path of content that is here, and is what its name says; what isn't goes, and is brought again."""
        path = self._local.path(sha256)
        with mapped(self._local.root):
            if not path.exists():
                return None
        try:
            self._local.sound(sha256)
        except DamagedError:
            with mapped(self._local.root):
                path.unlink(missing_ok=True)
            return None
        except StoreError:
            if path.exists():
                raise
            return None  # somebody made room just now
        self._cache.used(path)
        return path

    def _opened(self, path: Path, sha256: str, size: int | None) -> BinaryIO:
        """Open what is here; what somebody made room of just now is brought once more."""
        with mapped(self._local.root):
            try:
                return path.open("rb")
            except FileNotFoundError:
                pass
        with self.local(sha256, size) as again, mapped(self._local.root):
            return again.open("rb")
