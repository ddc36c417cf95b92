"""A folder that others write to, read without leaving it.

Links may point within the folder. Each file is opened step by step from the folder itself, never through a link, so
that nothing that is swapped meanwhile can lead out; and nothing but regular files is opened at all.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from reconciler.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 2**20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO that was swapped in mustn't block


class TreeError(Exception):
    """Something below the folder can't be used; the message begins with its path, as the user would write it."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file changes; times in nanoseconds since 1970."""

    size: int
    mtime: int
    ctime: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Give the stamp in what `stat` said."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class Tree:
    """Access to what is below `root`; `name` is what the user calls it. Paths are relative, with `/`."""

    def __init__(self, root: Path, name: str) -> None:
        """Take a folder.

        Raises:
            TreeError: it is not there, or no folder.
        """
        self._name = name.rstrip("/") or name
        try:
            self._root = Path(os.path.realpath(root, strict=True))
            os.close(os.open(self._root, _FOLDER))
        except OSError as error:
            raise TreeError(f"{name}: {_why(error)}") from error

    def shown(self, path: str) -> str:
        """Give a path as the user would write it, and fit to be shown."""
        return printable(f"{self._name}/{path}")

    def has(self, path: str) -> bool:
        """Say whether there is something at a path."""
        return os.path.lexists(self._root / path)

    def folder(self, path: str, limit: int) -> dict[str, Stamp]:
        """List a folder: what is in it and, under the name `.`, the folder itself; at most `limit` entries.

        Links count as what they lead to, and only regular files may be there.

        Raises:
            TreeError: it can't be read or has something that is no file.
        """
        real = self._inside(path)
        try:
            stamps = {".": Stamp.of(real.stat())}
            for name in self._names(path, limit):
                stamps[name] = Stamp.of(self._file_status(f"{path}/{name}"))
        except OSError as error:
            raise TreeError(f"{self.shown(path)}: {_why(error)}") from error
        return stamps

    def subfolders(self, path: str, limit: int) -> Iterator[tuple[str, bool]]:
        """Give the names in a folder, sorted, and whether each is a folder (or a link); nothing if it is not there.

        Raises:
            TreeError: it can't be read.
        """
        if not self.has(path):
            return
        for name in self._names(path, limit):
            try:
                mode = (self._root / path / name).lstat().st_mode
            except OSError:
                continue  # it went away meanwhile
            yield name, stat.S_ISDIR(mode) or stat.S_ISLNK(mode)

    def open(self, path: str) -> BinaryIO:
        """Open a file.

        Raises:
            TreeError: it can't be read, is no regular file, or leads out of the folder.
        """
        try:
            self._file_status(path)
            descriptor = self._descend(self._inside(path).relative_to(self._root).parts)
        except OSError as error:
            raise TreeError(f"{self.shown(path)}: {_why(error)}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise TreeError(f"{self.shown(path)}: it is no regular file")
        return os.fdopen(descriptor, "rb")

    def read(self, path: str, limit: int) -> bytes:
        """Give the content of a small file.

        Raises:
            TreeError: as for `open`; or it has more than `limit` bytes.
        """
        with self.open(path) as stream:
            try:
                content = stream.read(limit + 1)
            except OSError as error:
                raise TreeError(f"{self.shown(path)}: {_why(error)}") from error
        if len(content) > limit:
            raise TreeError(f"{self.shown(path)}: it is larger than {limit} bytes")
        return content

    def sha256(self, path: str, stamp: Stamp) -> str | None:
        """Hash a file that had this stamp; None when it changed. One that grows for ever is not followed.

        Raises:
            TreeError: as for `open`.
        """
        digest, left = hashlib.sha256(), stamp.size + 1
        with self.open(path) as stream:
            try:
                while left and (chunk := stream.read(min(_CHUNK, left))):
                    digest.update(chunk)
                    left -= len(chunk)
                return digest.hexdigest() if Stamp.of(os.fstat(stream.fileno())) == stamp and left == 1 else None
            except OSError as error:
                raise TreeError(f"{self.shown(path)}: {_why(error)}") from error

    def _names(self, path: str, limit: int) -> list[str]:
        names: list[str] = []
        try:
            with os.scandir(self._inside(path)) as entries:
                for entry in entries:
                    if len(names) == limit:
                        raise TreeError(f"{self.shown(path)}: it has more than {limit} entries")
                    names.append(entry.name)
        except OSError as error:
            raise TreeError(f"{self.shown(path)}: {_why(error)}") from error
        return sorted(names)

    def _inside(self, path: str) -> Path:
        try:
            real = Path(os.path.realpath(self._root / path, strict=True))
        except OSError as error:
            raise TreeError(f"{self.shown(path)}: {_why(error)}") from error
        if not real.is_relative_to(self._root):
            raise TreeError(f"{self.shown(path)}: it is a link that leads out of {self._name}")
        return real

    def _file_status(self, path: str) -> os.stat_result:
        status = self._inside(path).lstat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a special file"
            raise TreeError(f"{self.shown(path)}: it is {kind}; a release holds files only")
        return status

    def _descend(self, parts: tuple[str, ...]) -> int:
        descriptor = os.open(self._root, _FOLDER)
        for index, part in enumerate(parts):
            flags = _FILE if index == len(parts) - 1 else _FOLDER
            try:
                following = os.open(part, flags, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = following
        return descriptor


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
