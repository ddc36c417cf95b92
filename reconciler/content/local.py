"""Content in a folder of this machine, and believed only as far as the disk bears it out.

<root>/content/<first two of sha256>/<sha256>    one file for each content
<root>/stamps.json                               size, mtime and inode of what was last hashed
<root>/tmp/                                      files on their way in
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from reconciler.content.arrivals import Arrivals
from reconciler.content.belief import Belief
from reconciler.errors import StoreError, own_limit
from reconciler.model.release import SHA256

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from contextlib import AbstractContextManager

    from reconciler.content.arrivals import Readable, Wanted
    from reconciler.content.belief import Look


class LocalContent:
    """The content of one folder; nothing is touched before something is written. Used by several threads at once."""

    def __init__(self, root: Path) -> None:
        """Take the folder."""
        self.root = root
        self.folder = root / "content"
        self.arrivals = Arrivals(root)
        self._belief = Belief(root / "stamps.json", self._place, self.arrivals)

    def path(self, sha256: str) -> Path:
        """Give the place that content has, whether it is there or not.

        Raises:
            StoreError: it is no digest.
        """
        return Path(self._place(sha256))

    def _place(self, sha256: str) -> str:
        """Give the same as text: a look at thousands of them has no need of their paths."""
        if not SHA256.fullmatch(sha256):
            raise StoreError(f"{sha256!r} is no SHA-256")
        return f"{self.folder}/{sha256[:2]}/{sha256}"

    def look(self, *, verify: bool = False) -> Look:
        """Begin to look at content; `verify` hashes all that is looked at."""
        return self._belief.look(verify=verify)

    def sound(self, sha256: str) -> Path:
        """Give the place of content that is what its name says: it is hashed once by each process.

        Raises:
            StoreError: it isn't there, can't be read, or is damaged.
        """
        with mapped(self.root):
            return self._belief.sound(sha256)

    @contextmanager
    def open(self, sha256: str) -> Iterator[BinaryIO]:
        """Open content that is what its name says.

        Raises:
            StoreError: it isn't there, or is damaged.
        """
        with mapped(self.root), self.sound(sha256).open("rb") as file:
            yield file

    @contextmanager
    def local(self, sha256: str) -> Iterator[Path]:
        """Give the path of content that is what its name says, for the time of the block.

        Raises:
            StoreError: it isn't there, or is damaged.
        """
        yield self.sound(sha256)

    def pinned(self, digests: Iterable[str]) -> AbstractContextManager[None]:
        """Have content stay here for the time of the block: nothing goes from here by itself."""
        del digests
        return nullcontext()

    def check(self, sha256: str) -> None:
        """See to it that content is what its name says.

        Raises:
            StoreError: it isn't there, or is damaged.
        """
        self.sound(sha256)

    def has(self, sha256: str) -> bool:
        """Say whether content is here."""
        return self.path(sha256).exists()

    def receive(self, file: Wanted, stream: Readable) -> int:
        """Take content from a stream and give its size; see `Arrivals.receive`.

        Raises:
            DamagedError: it isn't what `file` says.
            StoreError: it can't be written.
        """
        path = self.path(file.sha256)
        with mapped(self.root):
            size = self.arrivals.receive(file, stream, path)
            self._belief.take(file.sha256)
        return size

    def drop(self, digests: Iterable[str]) -> None:
        """Remove content.

        Raises:
            OSError: it can't be removed.
        """
        for sha256 in digests:
            self.path(sha256).unlink(missing_ok=True)

    def sweep(self, used: Collection[str]) -> str:
        """Remove what was left: nothing is, here."""
        del used
        return ""

    def secure(self, files: Iterable[Wanted]) -> None:
        """Bring content to the disk before a manifest says that it is held.

        Raises:
            OSError: it can't be done.
        """
        self.sync(files)

    def sync(self, files: Iterable[Wanted]) -> None:
        """Bring content to the disk.

        Several at a time are one commit of the file system's journal, where one by one each is one.

        Raises:
            OSError: it can't be done.
        """
        paths = {self.path(file.sha256) for file in files}
        folders = {path.parent for path in paths}
        if len(paths) == 1:
            _sync(*paths, *folders)
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sync") as pool:
            for part in (paths, folders):  # a name lasts when the folder does, and by then what it names has to
                for _ in pool.map(_sync, part):
                    pass

    def free(self) -> int:
        """Give the room below the folder in bytes.

        Raises:
            StoreError: it can't be asked.
        """
        with mapped(self.root):
            there = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
            return shutil.disk_usage(there).free


_AT_ONCE = 8
"""How many files are on their way to the disk at a time."""


def _sync(*places: Path) -> None:
    for place in places:
        number = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(number)
        finally:
            os.close(number)


@contextmanager
def mapped(root: Path) -> Iterator[None]:
    """Turn errors of the disk into StoreError, unless it is a limit of this machine."""
    try:
        yield
    except OSError as error:
        if own := own_limit(error):
            raise own from error
        place = error.filename or root
        raise StoreError(f"the store: {place}: {error.strerror or error}") from error
