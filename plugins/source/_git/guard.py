"""What a pack may cost whoever reads it: looked at before dulwich does, as no reader of packs bounds that by itself.

* An object is at most as large as it may be, whatever its head says, and all of them together are. Of a delta that is
  what comes of it: a few bytes could stand for gigabytes.
* Deltas stand on each other only so high, and on what lies before them.
* Its last bytes are the digest of all others, and no object is larger or smaller than its head says.

What is inflated for that isn't kept. Source of the form: git's Documentation/gitformat-pack.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator

MAX_DEPTH = 500
"""How high deltas may stand on each other; git piles them up to 50, or 250 where it is told to try hard."""
MAX_OBJECTS = 1_000_000
_CHUNK = 2**16
_HEAD = 12
_OFFSET_DELTA, _NAMED_DELTA, _KINDS = 6, 7, frozenset({1, 2, 3, 4, 6, 7})
_SIZES = 20
"""Bytes that the two sizes at the beginning of a delta have at most."""


class PackError(ValueError):
    """A pack isn't what it should be; the message says why, and begins in the middle of a sentence."""


class CutError(PackError):
    """A pack breaks off."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many bytes an object may have, and all of a pack together."""

    one: int
    all: int


class _Head(NamedTuple):
    """What stands before an object's bytes: its kind, how many there are inflated, and where a delta's base is."""

    kind: int
    size: int
    data: int
    base: int


class Guard:
    """The checks of one pack. `digest` is how many bytes the name of an object has."""

    def __init__(self, content: bytes | mmap.mmap, digest: int, limits: Limits) -> None:
        """Look at nothing yet."""
        self._content = content
        self._digest = digest
        self._limits = limits

    def check(self) -> None:
        """Look at all of a pack.

        Raises:
            CutError: it breaks off.
            PackError: it isn't a pack, is damaged, or breaks a limit.
        """
        content = self._content
        place, total, depths = _HEAD, 0, dict[int, int]()
        for _number in range(self._count()):
            head = self._head(place)
            depths[place] = depths.get(head.base, 0) + 1 if head.kind == _OFFSET_DELTA else 0
            if head.kind == _OFFSET_DELTA and head.base not in depths:
                raise PackError("has a delta that isn't based on an object before it")
            if depths[place] > MAX_DEPTH:
                raise PackError(f"has more than {MAX_DEPTH} deltas on each other")
            total += self._weighed(head)
            place = self._end
            if total > self._limits.all:
                raise PackError(f"has objects of more than {self._limits.all} bytes")
        if place + self._digest > len(content):
            raise CutError("breaks off before its end")
        digest = hashlib.sha256() if self._digest == 32 else hashlib.sha1(usedforsecurity=False)
        for start in range(0, place, _CHUNK):
            digest.update(content[start : min(start + _CHUNK, place)])
        if content[place:] != digest.digest():
            raise PackError("isn't whole: its last bytes aren't the digest of the others")

    def first(self) -> bytes:
        """Give the bytes of the first object, which git takes care that a commit is, also of a pack that breaks off.

        Raises:
            PackError: they aren't there.
        """
        self._count()
        head = self._head(_HEAD)
        if head.kind in {_OFFSET_DELTA, _NAMED_DELTA} or head.size > self._limits.one:
            raise PackError("doesn't begin with an object")
        return b"".join(self._inflated(head))

    def _count(self) -> int:
        content = self._content
        if len(content) < _HEAD:
            raise CutError("breaks off in its head")
        if content[:4] != b"PACK" or int.from_bytes(content[4:8], "big") not in {2, 3}:
            raise PackError("isn't a pack")
        count = int.from_bytes(content[8:12], "big")
        if count > MAX_OBJECTS:
            raise PackError(f"has {count} objects; at most {MAX_OBJECTS} are read")
        return count

    def _head(self, place: int) -> _Head:
        byte, at = self._byte(place), place + 1
        kind, size, shift = (byte >> 4) & 7, byte & 15, 4
        while byte & 0x80:
            byte, at = self._byte(at), at + 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if shift > 60:
                raise PackError("has an object of a size that is none")
        if kind not in _KINDS:
            raise PackError(f"has an object of a kind that is none ({kind})")
        if kind == _NAMED_DELTA:
            at += self._digest
        back = 0
        if kind == _OFFSET_DELTA:
            byte, at = self._byte(at), at + 1
            back = byte & 0x7F
            while byte & 0x80 and back < place:
                byte, at = self._byte(at), at + 1
                back = ((back + 1) << 7) | (byte & 0x7F)
        return _Head(kind, size, at, place - back)

    def _byte(self, at: int) -> int:
        if at >= len(self._content):
            raise CutError("breaks off in an object")
        return self._content[at]

    def _weighed(self, head: _Head) -> int:
        """Give how many bytes an object makes: itself, and what comes of it where it is a delta."""
        most = self._limits.one
        if head.size > most:
            raise PackError(f"has an object of {head.size} bytes; at most {most} are read")
        start = b""
        for piece in self._inflated(head):
            start += piece[: _SIZES - len(start)]
        if head.kind not in {_OFFSET_DELTA, _NAMED_DELTA}:
            return head.size
        made = _made(start)
        if made > most:
            raise PackError(f"has an object of {made} bytes; at most {most} are read")
        return head.size + made

    def _inflated(self, head: _Head) -> Iterator[bytes]:
        """Give the bytes of an object in pieces, never more than it has; where they end is in `_end` then."""
        reader, at, left = zlib.decompressobj(), head.data, head.size
        while not reader.eof:
            chunk = self._content[at : at + _CHUNK]
            if not chunk:
                raise CutError("breaks off in an object")
            at += len(chunk)
            while chunk:
                try:
                    piece = reader.decompress(chunk, min(left + 1, _CHUNK))
                except zlib.error as error:
                    raise PackError(f"is damaged: {error}") from error
                left -= len(piece)
                if left < 0:
                    raise PackError("has an object that is larger than its head says")
                chunk = reader.unconsumed_tail
                yield piece
        if left:
            raise PackError("has an object that is smaller than its head says")
        self._end = at - len(reader.unused_data)


def _made(delta: bytes) -> int:
    """Give the size of what comes of a delta, the second number at its beginning."""
    numbers, at = [], 0
    for _number in range(2):
        size, shift = 0, 0
        while True:
            if at >= len(delta):
                raise PackError("has a damaged delta")
            size |= (delta[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not delta[at - 1] & 0x80:
                break
        numbers.append(size)
    return numbers[1]
