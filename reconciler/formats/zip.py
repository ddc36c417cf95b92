"""Zip archives of others: stored and deflated files, zip64 too.

It is read strictly: the list of members at the end must agree with what stands before each of them, no two members may
share bytes, nothing may stand before the first, and each has the size and the checksum that the list promises.
Encrypted files, archives of several disks and other ways of packing are refused.

Source of the rules: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import stat
import struct
import zlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from .packed import CHUNK, ArchiveError, check_ratio
from .tar import MAX_MEMBERS, MAX_SIZE, Member

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from .packed import Budget
    from .tar import MemberKind

MAX_LIST = 2**25
"""Bytes of the list of members."""
STORED, DEFLATED = 0, 8
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_UNIX = 3
_ENCRYPTED = 0x2041
"""Bits of the flags: encrypted, strongly so, or with a list that is."""


def is_zip(first: bytes) -> bool:
    """Say whether a file begins as a zip archive does."""
    return first.startswith((b"PK\3\4", b"PK\5\6"))


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the list of members. `end` is where the next member, or the list, begins."""

    raw: bytes
    name: str
    kind: MemberKind
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    end: int = 0


def zip_members(stream: BinaryIO, budget: Budget) -> Iterator[Member]:
    """Give the members of an archive, as they lie in it. The stream can be sought in.

    Raises:
        ArchiveError: it is damaged, or has what isn't read.
    """
    entries = sorted(_entries(stream), key=lambda entry: entry.offset)
    for number, entry in enumerate(entries):
        limit = entries[number + 1].offset if number + 1 < len(entries) else entry.end
        placed = replace(entry, end=limit)
        if placed.offset + _LOCAL.size + len(entry.raw) + entry.packed > limit:
            raise ArchiveError(f"{entry.name!r:.200} in it shares bytes with what follows")
        yield Member(entry.name, entry.kind, partial(_content, stream, placed, budget))


def _content(stream: BinaryIO, entry: _Entry, budget: Budget) -> Iterator[bytes]:
    shown = f"{entry.name!r:.200} in it"
    stream.seek(entry.offset)
    magic, _needs, flags, method, _time, _day, _crc, _packed, _size, named, extra = _LOCAL.unpack(
        _exactly(stream, _LOCAL.size)
    )
    if (entry.flags | flags) & _ENCRYPTED:
        raise ArchiveError(f"{shown} is encrypted")
    if entry.method not in {STORED, DEFLATED}:
        raise ArchiveError(f"{shown} is packed in a way that isn't known here ({entry.method})")
    start = entry.offset + _LOCAL.size + named + extra
    if magic != b"PK\3\4" or method != entry.method or _exactly(stream, named) != entry.raw:
        raise ArchiveError(f"{shown} is another thing than the list at the end says")
    if start + entry.packed > entry.end:
        raise ArchiveError(f"{shown} shares bytes with what follows")
    stream.seek(start)
    crc = made = 0
    for piece in _inflated(stream, entry) if entry.method == DEFLATED else _stored(stream, entry):
        made += len(piece)
        if made > entry.size:
            break
        budget.spend(len(piece))
        crc = zlib.crc32(piece, crc)
        yield piece
    if (made, crc) != (entry.size, entry.crc):
        raise ArchiveError(f"{shown} hasn't the size and the checksum that the list at the end says")


def _stored(stream: BinaryIO, entry: _Entry) -> Iterator[bytes]:
    left = entry.packed
    while left:
        piece = _exactly(stream, min(left, CHUNK))
        left -= len(piece)
        yield piece


def _inflated(stream: BinaryIO, entry: _Entry) -> Iterator[bytes]:
    reader = zlib.decompressobj(-zlib.MAX_WBITS)
    left, rest, made = entry.packed, b"", 0
    while not reader.eof:
        if not rest:
            rest = _exactly(stream, min(left, CHUNK))
            left -= len(rest)
            if not rest:
                raise ArchiveError(f"{entry.name!r:.200} in it is cut short")
        try:
            piece = reader.decompress(rest, CHUNK)
        except zlib.error as error:
            raise ArchiveError(f"{entry.name!r:.200} in it is damaged: {error}") from error
        rest = reader.unconsumed_tail
        made += len(piece)
        check_ratio(made, entry.packed)
        if piece:
            yield piece
    if left or reader.unused_data:
        raise ArchiveError(f"{entry.name!r:.200} in it is followed by bytes that belong to nothing")


def _entries(stream: BinaryIO) -> list[_Entry]:
    count, size, start = _where(stream)
    if count > MAX_MEMBERS or size > MAX_LIST:
        raise ArchiveError(f"it has more than {MAX_MEMBERS} entries, or a list of them that is too long")
    stream.seek(start)
    content = _exactly(stream, size)
    place = 0
    found: list[_Entry] = []
    while place < size:
        entry, place = _entry(content, place)
        if entry.offset >= start:
            raise ArchiveError("its list names what lies behind the list")
        found.append(replace(entry, end=start))
        if len(found) > count:
            break
    if len(found) != count:
        raise ArchiveError("its list hasn't as many entries as it says")
    if min((entry.offset for entry in found), default=0):
        raise ArchiveError("something stands before its first member")
    return found


def _entry(content: bytes, place: int) -> tuple[_Entry, int]:
    if place + _ENTRY.size > len(content):
        raise ArchiveError("its list of members is cut short")
    fields = _ENTRY.unpack_from(content, place)
    magic, made_by, _needs, flags, method, _time, _day, crc, packed, size, named, extra, comment = fields[:13]
    disk, _inside, outside, offset = fields[13:]
    begin = place + _ENTRY.size
    end = begin + named + extra + comment
    if magic != b"PK\1\2" or end > len(content) or not named:
        raise ArchiveError("its list of members is damaged")
    raw = content[begin : begin + named]
    wide = _wide(content[begin + named : begin + named + extra])
    numbers = []
    for number in (size, packed, offset):
        if number == _FULL32 and wide:
            number = wide.pop(0)  # noqa: PLW2901 - the same number, where it stands when it doesn't fit
        numbers.append(number)
    if disk or max(numbers) > MAX_SIZE:
        raise ArchiveError("its list of members names what isn't in this file")
    name = raw.decode("utf-8" if flags & 0x800 else "cp437", "surrogateescape")
    kind = _kind(name, outside >> 16 if made_by >> 8 == _UNIX else 0)
    return (
        _Entry(
            raw=raw,
            name=name,
            kind=kind,
            flags=flags,
            method=method,
            crc=crc,
            size=numbers[0],
            packed=numbers[1],
            offset=numbers[2],
        ),
        end,
    )


def _kind(name: str, mode: int) -> MemberKind:
    if name.endswith("/"):
        return "folder"
    if stat.S_IFMT(mode) in {0, stat.S_IFREG}:
        return "file"
    return "link" if stat.S_ISLNK(mode) else "folder" if stat.S_ISDIR(mode) else "special"


def _wide(extra: bytes) -> list[int]:
    """Give the numbers of a zip64 field, those of them that are there."""
    place = 0
    while place + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, place)
        if kind == 1:
            field = extra[place + 4 : place + 4 + size]
            return [int.from_bytes(field[at : at + 8], "little") for at in range(0, len(field) - 7, 8)]
        place += 4 + size
    return []


def _where(stream: BinaryIO) -> tuple[int, int, int]:
    """Give how many members there are, and size and place of their list."""
    whole = stream.seek(0, 2)
    tail_at = max(whole - _END.size - _FULL16, 0)
    stream.seek(tail_at)
    tail = stream.read(_END.size + _FULL16)
    place = len(tail)
    while True:
        place = tail.rfind(b"PK\5\6", 0, place)
        if place < 0:
            raise ArchiveError("it is cut short: the list of its members isn't there")
        if place + _END.size <= len(tail):
            _magic, disk, first, here, count, size, start, comment = _END.unpack_from(tail, place)
            if place + _END.size + comment == len(tail):
                break
    at = tail_at + place
    if _FULL16 in {here, count} or _FULL32 in {size, start}:
        wide = _where_wide(stream, at)
        if wide is not None:
            return wide
    if disk or first or here != count:
        raise ArchiveError("it is one of several disks")
    if start + size != at:
        raise ArchiveError("something stands before it, or around the list of its members")
    return count, size, start


def _where_wide(stream: BinaryIO, at: int) -> tuple[int, int, int] | None:
    if at < _LOCATOR.size + _END64.size:
        return None
    stream.seek(at - _LOCATOR.size)
    magic, disk, place, disks = _LOCATOR.unpack(_exactly(stream, _LOCATOR.size))
    if magic != b"PK\6\7":
        return None
    if disk or disks > 1 or place + _END64.size > at - _LOCATOR.size:
        raise ArchiveError("it is one of several disks, or damaged")
    stream.seek(place)
    fields = _END64.unpack(_exactly(stream, _END64.size))
    magic64, length, _made, _needs, own, first, here, count, size, start = fields
    if magic64 != b"PK\6\6" or own or first or here != count or place + 12 + length != at - _LOCATOR.size:
        raise ArchiveError("the list of its members is damaged")
    if start + size != place:
        raise ArchiveError("something stands before it, or around the list of its members")
    return count, size, start


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ArchiveError("it is cut short")
    return data
