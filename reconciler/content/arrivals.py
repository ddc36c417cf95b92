"""Files on their way into a folder of content: written below `tmp`, verified, and brought to their name when whole.

A small one is verified before anything of it is written. A killed writer leaves a file there, nothing else; the next
writer removes those that are older than a day. Of a large file that is the part which came, and whoever asks for it
next goes on from there.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import os
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from reconciler.errors import DamagedError

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 1024 * 1024
PART_MIN = 1024 * 1024
"""A smaller file is read into memory, and it isn't worth keeping a part of it."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_OLD = 24 * 3600
_FULL = frozenset([errno.ENOSPC, errno.EDQUOT])


class Wanted(Protocol):
    """Content by its digest, and what it is called: a file of a release, a patch."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def size(self) -> int:
        """Its size in bytes."""

    @property
    def sha256(self) -> str:
        """Its SHA-256 in hexadecimal."""


class Readable(Protocol):
    """A stream that content is taken from."""

    def read(self, size: int, /) -> bytes:
        """Read some bytes, at most `size`; none at the end."""

    def seekable(self) -> bool:
        """Say whether `seek` works before anything is read."""

    def seek(self, offset: int, /) -> int:
        """Go on from another place."""


class Arrivals:
    """The files on their way into one folder; nothing is touched before the first is written."""

    def __init__(self, root: Path) -> None:
        """Take the folder, in which `tmp` is made."""
        self._root = root
        self._tmp = root / "tmp"
        self._is_ready = False
        self._own = os.urandom(8).hex()
        self._numbers = itertools.count()

    @contextmanager
    def content(self, file: Wanted) -> Iterator[tuple[BinaryIO, Path]]:
        """Give the file that large content is written to: the part that is there, unless another process has it.

        What isn't settled is gone afterwards, but for a large part whose stream broke.
        """
        self._clear_old()
        part = self._tmp / f"{file.sha256}.part"
        with part.open("a+b") as handle:
            if not _is_mine(handle, part):
                with self.temporary() as pair:
                    yield pair
                return
            try:
                yield handle, part
            except DamagedError:
                part.unlink(missing_ok=True)
                raise
            except OSError as error:
                if error.errno in _FULL:  # a part would keep from others what room there is
                    part.unlink(missing_ok=True)
                raise
            except BaseException:
                if handle.tell() < PART_MIN:
                    part.unlink(missing_ok=True)
                raise

    def receive(self, file: Wanted, stream: Readable, path: Path) -> int:
        """Bring content from a stream to its name and give its size; nothing is left of what doesn't fit.

        What came of a large file before its stream broke stays for the next try, if the stream then is seekable.

        Raises:
            DamagedError: it isn't what `file` says. OSError: it can't be written.
        """
        if file.size < PART_MIN:
            if not self._is_ready:
                self._clear_old()
            self._write(_whole(file, stream), path)
            return file.size
        with self.content(file) as (handle, temporary):
            digest, size = continued(handle, file, stream)
            while size <= file.size and (chunk := stream.read(min(CHUNK, file.size + 1 - size))):
                size += len(chunk)
                digest.update(chunk)
                handle.write(chunk)
            _check(file, size, digest.hexdigest())
            settle(handle, temporary, path, sync=False)
        return size

    def _write(self, content: bytes, path: Path) -> None:
        """Bring content that was verified to its name.

        There may be thousands: each costs few calls, as at each of them Python hands on to another thread.
        """
        temporary = self._tmp / f"{self._own}-{os.getpid()}-{next(self._numbers)}"
        try:
            number = os.open(temporary, _NEW, 0o600)
        except FileNotFoundError:  # somebody removed the folder
            self._clear_old()
            number = os.open(temporary, _NEW, 0o600)
        try:
            try:
                left = memoryview(content)
                while left:
                    left = left[os.write(number, left) :]
                os.fchmod(number, 0o644)
            finally:
                os.close(number)
            _rename(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    @contextmanager
    def temporary(self) -> Iterator[tuple[BinaryIO, Path]]:
        """Give a file to write; it is gone afterwards unless it was settled."""
        self._clear_old()
        number, name = tempfile.mkstemp(dir=self._tmp)
        temporary = Path(name)
        try:
            with os.fdopen(number, "wb") as handle:
                yield handle, temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _clear_old(self) -> None:
        """Make the folder of files on their way, once, and take away what was left there long ago."""
        if self._is_ready and self._tmp.is_dir():
            return
        self._is_ready = True
        self._root.mkdir(parents=True, exist_ok=True)
        self._tmp.mkdir(exist_ok=True)
        for left in self._tmp.iterdir():
            with suppress(FileNotFoundError):
                if abs(time.time() - left.stat().st_mtime) > _OLD:  # one far ahead is old, too
                    left.unlink(missing_ok=True)


def _whole(file: Wanted, stream: Readable) -> bytes:
    """Read a small file to its end and give what it says.

    Raises:
        DamagedError: it isn't what `file` says.
    """
    chunks, size = [], 0
    while size <= file.size and (chunk := stream.read(file.size + 1 - size)):
        size += len(chunk)
        chunks.append(chunk)
    content = b"".join(chunks)
    _check(file, size, hashlib.sha256(content).hexdigest())
    return content


def _check(file: Wanted, size: int, sha256: str) -> None:
    if size != file.size:
        more = "more than " if size > file.size else ""
        raise DamagedError(f"{file.name!r} should have {file.size} bytes and has {more}{min(size, file.size)}")
    if sha256 != file.sha256:
        raise DamagedError(f"{file.name!r} has the SHA-256 {sha256}, not {file.sha256}")


def settle(handle: BinaryIO, temporary: Path, path: Path, *, sync: bool = True) -> None:
    """Bring a written file to its name and, with `sync`, to the disk."""
    handle.flush()
    if sync:
        os.fsync(handle.fileno())
    os.fchmod(handle.fileno(), 0o644)
    _rename(temporary, path)


def _rename(temporary: Path, path: Path) -> None:
    try:
        temporary.replace(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)


def continued(handle: BinaryIO, file: Wanted, stream: Readable) -> tuple[Any, int]:
    """Hash what is there of a file, and have the stream go on behind it; from nothing where that can't be done."""
    digest = hashlib.sha256()
    had = handle.seek(0, os.SEEK_END)
    if had and had <= file.size and stream.seekable():
        handle.seek(0)
        while chunk := handle.read(CHUNK):
            digest.update(chunk)
        stream.seek(had)
        return digest, had
    handle.seek(0)
    handle.truncate()
    return digest, 0


def _is_mine(handle: BinaryIO, part: Path) -> bool:
    """Take a part for this process; not one that another is writing, or has just brought to its name."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(handle.fileno()).st_ino == part.stat().st_ino
    except OSError:
        return False
