"""Members of archives of others, read by the standard library and held to limits of ours.

Its readers are lenient where two programs could read two things, so that is looked at here: what follows after the end
of a tar or stands before a zip, members that share bytes, links with content, headers that are vast.
"""

from __future__ import annotations

import stat
import struct
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from reconciler.formats.packed import CHUNK, ArchiveError, check_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO, Self

    from reconciler.formats.packed import Budget

MemberKind = Literal["file", "folder", "link", "special"]
BLOCK = tarfile.BLOCKSIZE
MAX_MEMBERS = 100_000
MAX_EXTENSION = 2**16
MAX_NAME = 4096
_EXTENSIONS = frozenset({b"x", b"g", b"X", b"L", b"K"})
_REFUSED = {b"S": "a sparse file", b"M": "the rest of a file of another volume", b"D": "a list of a folder"}
_LOCAL_HEAD = 30
_ENTRY = b"PK\1\2"
"""What each entry of a zip's list begins with."""
_ENCRYPTED = 0x2041
"""Bits of a zip's flags: encrypted, strongly so, or with a list that is."""


@dataclass(frozen=True, slots=True)
class Member:
    """What an archive has: its name as it is written there, and its content, to be read before the next member."""

    name: str
    kind: MemberKind
    content: Callable[[], Iterator[bytes]]


def is_zip(first: bytes) -> bool:
    """Say whether a file begins as a zip archive does."""
    return first.startswith((b"PK\3\4", b"PK\5\6"))


def tar_members(stream: BinaryIO) -> Iterator[Member]:
    """Give the members of a tar archive that isn't packed, in their order; the stream can be sought in.

    Raises:
        ArchiveError: it is damaged, cut short, or has what isn't read.
    """
    with _mapped("tar"), tarfile.open(fileobj=stream, mode="r:", tarinfo=_Head, errorlevel=2) as archive:
        for number, head in enumerate(archive):
            if number == MAX_MEMBERS:
                raise ArchiveError(f"it has more than {MAX_MEMBERS} entries")
            if not head.name or len(head.name) > MAX_NAME or "\0" in head.name:
                raise ArchiveError("an entry of it has no name that can be read")
            if head.size < 0:
                raise ArchiveError("an entry of it has a size that no file has")
            if head.issparse() or any(key.startswith("GNU.sparse") for key in head.pax_headers):
                raise ArchiveError(f"{head.name!r:.200} in it is a sparse file, which isn't unpacked")
            yield Member(head.name, _kind(head), partial(_read_tar, archive, head))
        _nothing_follows(stream, archive.offset)


class _Head(tarfile.TarInfo):
    """A header, refused where the library would read it into memory whole, or believe what has two meanings."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        head = super().frombuf(buf, encoding, errors)
        if head.type in _EXTENSIONS:
            if not 0 <= head.size <= MAX_EXTENSION:
                raise ArchiveError(f"an extended header of it is larger than {MAX_EXTENSION} bytes")
        elif head.type in _REFUSED:
            raise ArchiveError(f"{head.name!r:.200} in it is {_REFUSED[head.type]}, which isn't unpacked")
        elif head.size and not head.isreg():
            raise ArchiveError(f"{head.name!r:.200} in it is no file and has content all the same")
        return head


def _kind(head: tarfile.TarInfo) -> MemberKind:
    if head.isreg():
        return "file"
    return "folder" if head.isdir() else "link" if head.issym() or head.islnk() else "special"


def _read_tar(archive: tarfile.TarFile, head: tarfile.TarInfo) -> Iterator[bytes]:
    with _mapped("tar"):
        content = archive.extractfile(head)
        if content is None:
            raise ArchiveError(f"{head.name!r:.200} in it is no file")
        left = head.size
        while left:
            piece = content.read(min(left, CHUNK))
            if not piece:
                raise ArchiveError("it is cut short")
            left -= len(piece)
            yield piece


def _nothing_follows(stream: BinaryIO, end: int) -> None:
    """See that zeros end an archive: the library takes a damaged header for its end.

    Raises:
        ArchiveError: something else follows, or nothing at all.
    """
    stream.seek(end)
    piece = stream.read(CHUNK)
    if not piece:
        raise ArchiveError("it is cut short")
    while piece:
        if piece.strip(b"\0"):
            raise ArchiveError("a header of it is damaged, or something follows after its end")
        piece = stream.read(CHUNK)


def zip_members(stream: BinaryIO, budget: Budget) -> Iterator[Member]:
    """Give the members of a zip archive, as they lie in it; the stream can be sought in.

    Raises:
        ArchiveError: it is damaged, or has what isn't read.
    """
    _not_too_many(stream)
    with _mapped("zip"), zipfile.ZipFile(stream) as archive:
        entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
        if entries and entries[0].header_offset:
            raise ArchiveError("something stands before its first member")
        ends = [entry.header_offset for entry in entries[1:]] + [archive.start_dir]
        for entry, end in zip(entries, ends, strict=True):
            if entry.header_offset + _LOCAL_HEAD + len(entry.orig_filename) + entry.compress_size > end:
                raise ArchiveError(f"{entry.filename!r:.200} in it shares bytes with what follows")
            yield Member(entry.orig_filename, _zip_kind(entry), partial(_read_zip, archive, entry, budget))


def _not_too_many(stream: BinaryIO) -> None:
    """See that a zip's list has not too many entries: the library reads all of it into memory, whatever its size.

    Raises:
        ArchiveError: it has.
    """
    count, end = 0, b""
    while piece := stream.read(CHUNK):
        count += (end + piece).count(_ENTRY)
        end = (end + piece)[-3:]
        if count > MAX_MEMBERS:
            raise ArchiveError(f"it has more than {MAX_MEMBERS} entries")
    stream.seek(0)


def _zip_kind(entry: zipfile.ZipInfo) -> MemberKind:
    mode = stat.S_IFMT(entry.external_attr >> 16)
    if entry.is_dir() or mode == stat.S_IFDIR:
        return "folder"
    return "file" if mode in {0, stat.S_IFREG} else "link" if mode == stat.S_IFLNK else "special"


def _read_zip(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, budget: Budget) -> Iterator[bytes]:
    shown = f"{entry.filename!r:.200} in it"
    if entry.flag_bits & _ENCRYPTED:
        raise ArchiveError(f"{shown} is encrypted")
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise ArchiveError(f"{shown} is packed in a way that isn't known here ({entry.compress_type})")
    made = 0
    with _mapped("zip"), archive.open(entry) as content:
        while piece := content.read(CHUNK):
            made += len(piece)
            budget.spend(len(piece))
            check_ratio(made, entry.compress_size)
            yield piece
    if made != entry.file_size:
        raise ArchiveError(f"{shown} hasn't the size that the list at the end says")


@contextmanager
def _mapped(kind: str) -> Iterator[None]:
    """Say in one way whatever the library says of an archive that it can't read."""
    try:
        yield
    except ArchiveError:
        raise
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        ArithmeticError,
        LookupError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        raise ArchiveError(f"it is no {kind} archive, or damaged: {error}") from error
