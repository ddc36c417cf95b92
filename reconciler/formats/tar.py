"""Tar archives of others, read as a stream: ustar, the extensions of GNU for long names, and pax.

It is read strictly, as two readers that differ in what they make of an archive are how one sees what the other doesn't:
every header has its checksum, what isn't a file has no content, an extension belongs to one entry, and behind the end
there are zeros only. Nothing is held in memory but a header and a piece. Sparse files and archives of several volumes
are refused.

Source of the rules: POSIX.1-2017 `pax`, "ustar Interchange Format" and "pax Interchange Format"; the manual of GNU tar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal

from .packed import CHUNK, ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MemberKind = Literal["file", "folder", "link", "special"]
BLOCK = 512
MAX_MEMBERS = 100_000
MAX_EXTENSION = 2**16
MAX_NAME = 4096
MAX_SIZE = 2**50
_FILES, _FOLDERS, _LINKS, _SPECIAL = b"0\0007", b"5", b"12", b"346"
_NUMBER = re.compile(rb" *([0-7]*)[ \0]*")
_RECORD = re.compile(rb"([1-9][0-9]{0,5}) ")
_REFUSED = {b"S": "a sparse file", b"M": "the rest of a file of another volume", b"D": "a list of a folder"}


@dataclass(frozen=True, slots=True)
class Member:
    """What an archive has: its name as it is written there, and its content, to be read before the next member."""

    name: str
    kind: MemberKind
    content: Callable[[], Iterator[bytes]]


def is_tar(first: bytes) -> bool:
    """Say whether a file begins as a tar archive does."""
    return len(first) >= BLOCK and (_checksum_fits(first[:BLOCK]) or not first[:BLOCK].strip(b"\0"))


def tar_members(pieces: Iterator[bytes]) -> Iterator[Member]:
    """Give the members of an archive in their order, and at its end see to it that nothing follows.

    Raises:
        ArchiveError: it is damaged, cut short, or has what isn't read.
    """
    source = _Bytes(pieces)
    own = _Own()
    for _number in range(MAX_MEMBERS):
        block = source.exactly(BLOCK)
        if not block.strip(b"\0"):
            if own:
                raise ArchiveError("it ends where an entry should follow")
            source.end()
            return
        if not _checksum_fits(block):
            raise ArchiveError("a header of it is damaged, or it is no tar archive")
        kind, size = block[156:157], _size(block[124:136])
        if kind in b"xgLKX":
            if size > MAX_EXTENSION:
                raise ArchiveError(f"an extended header of it is larger than {MAX_EXTENSION} bytes")
            own.learn(kind, source.exactly(size))
            source.skip_padding(size)
            continue
        name, size = own.name or _name(block), size if own.size is None else own.size
        if kind in _REFUSED or own.sparse:
            raise ArchiveError(f"{name!r:.200} in it is {_REFUSED.get(kind, 'a sparse file')}, which isn't unpacked")
        own = _Own()
        yield from _member(source, name, kind, size)
    raise ArchiveError(f"it has more than {MAX_MEMBERS} entries")


def _member(source: _Bytes, name: str, kind: bytes, size: int) -> Iterator[Member]:
    if not name or len(name) > MAX_NAME or "\0" in name:
        raise ArchiveError("an entry of it has no name that can be read")
    what: MemberKind = "special"
    if kind in _FILES:
        what = "folder" if name.endswith("/") and not size else "file"
    elif kind in _FOLDERS:
        what = "folder"
    elif kind in _LINKS:
        what = "link"
    if size and (kind in _FOLDERS or kind in _LINKS or kind in _SPECIAL):
        raise ArchiveError(f"{name!r:.200} in it is no file and has content all the same")
    before = source.position
    yield Member(name, what, lambda: source.up_to(size))
    source.skip(before + size - source.position)
    source.skip_padding(size)


class _Own:
    """What extended headers say of the entry that follows."""

    def __init__(self) -> None:
        self.size: int | None = None
        self.sparse = False
        self._seen: set[bytes] = set()
        self._pax_name = self._long_name = ""

    def __bool__(self) -> bool:
        return bool(self._seen - {b"g"})

    @property
    def name(self) -> str:
        return self._pax_name or self._long_name

    def learn(self, kind: bytes, content: bytes) -> None:
        """Take an extended header in.

        Raises:
            ArchiveError: it is malformed, there was one like it, or it would say something of all that follows.
        """
        if kind in self._seen and kind != b"g":
            raise ArchiveError("an entry of it has two extended headers of one kind")
        self._seen.add(kind)
        if kind == b"L":
            self._long_name = _text(content.removesuffix(b"\0"))
        elif kind in b"xXg":
            for key, value in _records(content):
                if kind == b"g" and (key in {b"path", b"size"} or key.startswith(b"GNU.sparse")):
                    raise ArchiveError(f"it gives one {key.decode('ascii', 'replace')!r:.40} to all of its entries")
                if key == b"path":
                    self._pax_name = _text(value)
                elif key == b"size":
                    self.size = _decimal(value)
                self.sparse |= key.startswith(b"GNU.sparse")


class _Bytes:
    """The bytes of an archive, taken from pieces of any size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")
        self.position = 0

    def _some(self, most: int) -> memoryview:
        """Give some bytes, at least one of them.

        Raises:
            ArchiveError: there are none any more.
        """
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                raise ArchiveError("it is cut short")
            self._piece = memoryview(piece)
        part, self._piece = self._piece[:most], self._piece[most:]
        self.position += len(part)
        return part

    def up_to(self, size: int) -> Iterator[bytes]:
        while size:
            part = bytes(self._some(min(size, CHUNK)))
            size -= len(part)
            yield part

    def exactly(self, size: int) -> bytes:
        return b"".join(self.up_to(size))

    def skip(self, size: int) -> None:
        while size:
            size -= len(self._some(size))

    def skip_padding(self, size: int) -> None:
        self.skip(-size % BLOCK)

    def end(self) -> None:
        """Read to the end.

        Raises:
            ArchiveError: something else than zeros is there.
        """
        for piece in chain((bytes(self._piece),), self._pieces):
            if piece.strip(b"\0"):
                raise ArchiveError("something follows after its end")


def _checksum_fits(block: bytes) -> bool:
    match = _NUMBER.fullmatch(block[148:156])
    if match is None or not match[1]:
        return False
    wanted, rest = int(match[1], 8), block[:148] + b" " * 8 + block[156:]
    return wanted in {sum(rest), sum(byte - 256 if byte > 127 else byte for byte in rest)}


def _name(block: bytes) -> str:
    name = block[:100].partition(b"\0")[0]
    prefix = block[345:500].partition(b"\0")[0] if block[257:263] == b"ustar\0" else b""
    return _text(prefix + b"/" + name if prefix else name)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _size(field: bytes) -> int:
    if field[0] & 0x80:  # GNU's form of numbers that don't fit
        number = int.from_bytes(field) - (0x80 << 8 * (len(field) - 1))
        if field[0] != 0x80 or number > MAX_SIZE:
            raise ArchiveError("an entry of it has a size that no file has")
        return number
    match = _NUMBER.fullmatch(field)
    if match is None:
        raise ArchiveError("an entry of it has a size that is no number")
    return int(match[1] or b"0", 8)


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 18 or int(value) > MAX_SIZE:
        raise ArchiveError("an entry of it has a size that no file has")
    return int(value)


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give keys and values of a pax header: each record begins with its own length."""
    place = 0
    while place < len(content):
        match = _RECORD.match(content, place)
        end = place + int(match[1]) if match else 0
        record = content[match.end() : end] if match else b""
        key, equals, value = record.partition(b"=")
        if match is None or end > len(content) or not record.endswith(b"\n") or not equals or not key:
            raise ArchiveError("an extended header of it is malformed")
        yield key, value[:-1]
        place = end
