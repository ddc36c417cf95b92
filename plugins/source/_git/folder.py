"""A repository in a folder, such as a medium that was carried here: read file by file, and nothing of it is run.

Its settings, hooks, filters and links to other repositories aren't looked at. Objects are found by the indexes of its
packs, which anybody may have written: whoever asks for an object compares it with its name.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import SourceError, UpdoserError, own_limit, words_of

from .depot import FORMATS
from .guard import Guard, PackError
from .objects import OBJECT_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from .guard import Limits
    from .objects import Kind

MAX_REFS = 2**24
"""Bytes of all names of branches and tags."""
MAX_PACKS = 1_000
_KINDS: dict[bytes, Kind] = {b"commit": "commit", b"tree": "tree", b"blob": "blob", b"tag": "tag"}
_PACKED = re.compile(r"([0-9a-f]{40}|[0-9a-f]{64}) (refs/\S+)")
_PACK = re.compile(r"pack-[0-9a-f]{40,64}\.idx")


def _is_pack(index: Path) -> bool:
    return bool(_PACK.fullmatch(index.name)) and index.is_file() and index.with_suffix(".pack").is_file()


class Folder:
    """The `Remote` of a folder: a bare repository, or a work tree with its `.git`."""

    def __init__(self, path: Path, limits: Limits) -> None:
        """Read nothing yet."""
        self._path = path
        self._limits = limits
        self._packs: list[Any] | None = None
        self._length = 0

    def refs(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        """Give the objects of branches and tags whose full names are wanted, by these names.

        Raises:
            SourceError: there is no repository, or it can't be read.
        """
        self.close()
        root = self._root()
        found = {}
        for line in self._text(root / "packed-refs").splitlines():
            match = _PACKED.fullmatch(line)
            if match and wanted(match[2]):
                found[match[2]] = match[1]
        size = 0
        for place, folders, files in os.walk(root / "refs"):
            folders.sort()
            for file in files:
                path = Path(place) / file
                name = path.relative_to(root).as_posix()
                if not wanted(name):
                    continue
                text = self._text(path).strip()
                size += len(text)
                if OBJECT_ID.fullmatch(text):
                    found[name] = text
                if size > MAX_REFS:
                    raise SourceError(f"{self._path} has more branches and tags than are read")
        return found

    def get(self, name: str) -> tuple[Kind, bytes] | None:
        """Give an object's kind and bytes; see `depot.Objects`.

        Raises:
            SourceError: a file of it is damaged, or breaks a limit.
        """
        from dulwich.object_format import get_object_format
        from dulwich.objects import ShaFile, object_class

        loose = self._bytes(self._root() / "objects" / name[:2] / name[2:], self._limits.one + 2**16)
        try:
            if loose is not None:
                form = get_object_format(FORMATS[len(name)])
                made = ShaFile.from_file(BytesIO(loose), object_format=form, max_size=self._limits.one)
                return _KINDS[made.type_name], made.as_raw_string()
            if self._packs is None or self._length != len(name):
                self._length, self._packs = len(name), self._opened(len(name))
            for pack in self._packs:
                if name.encode() in pack:
                    number, content = pack.get_raw(name.encode())
                    class_ = object_class(number)
                    return (_KINDS[class_.type_name], content) if class_ else None
        except UpdoserError:
            raise
        except Exception as error:  # whatever stands there
            if own := own_limit(error):
                raise own from error
            raise SourceError(f"{self._path}: the object {name[:12]} can't be read: {words_of(error)}") from error
        return None

    def close(self) -> None:
        """Let go of its packs."""
        for pack in self._packs or ():
            pack.close()
        self._packs = None

    def _root(self) -> Path:
        for root in (self._path, self._path / ".git"):
            if (root / "objects").is_dir() and (root / "HEAD").exists():
                return root
        what = "has no git repository" if self._path.is_dir() else "isn't there"
        raise SourceError(
            f"{self._path} {what}", hint="`url` names a bare repository, or a folder with `.git`: git clone --bare"
        )

    def _opened(self, length: int) -> list[Any]:
        """Give the packs whose objects have names of that length, all of which keep the limits."""
        from dulwich.object_format import get_object_format
        from dulwich.pack import Pack

        folder = self._root() / "objects" / "pack"
        found = sorted(path.with_suffix("") for path in folder.glob("pack-*.idx") if _is_pack(path))
        if len(found) > MAX_PACKS:
            raise SourceError(f"{self._path} has more than {MAX_PACKS} packs", hint="git gc there packs them together")
        packs = []
        for path in found:
            with path.with_suffix(".pack").open("rb") as file:
                try:
                    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                        Guard(content, length // 2, self._limits).check()
                except (PackError, ValueError) as error:
                    raise SourceError(f"{path}.pack {error}") from error
            packs.append(Pack(str(path), object_format=get_object_format(FORMATS[length])))
        return packs

    def _text(self, path: Path) -> str:
        content = self._bytes(path, MAX_REFS) or b""
        if len(content) > MAX_REFS:
            raise SourceError(f"{path} has more than {MAX_REFS} bytes")
        return content.decode("utf-8", "surrogateescape")

    def _bytes(self, path: Path, limit: int) -> bytes | None:
        """Read a file of it, up to `limit` bytes and one more; None where none is there."""
        try:
            number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
            with open(number, "rb") as stream:  # noqa: PTH123 - opened already
                return stream.read(limit + 1) if stat.S_ISREG(os.fstat(number).st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise SourceError(f"{path} can't be read: {error.strerror}") from error
