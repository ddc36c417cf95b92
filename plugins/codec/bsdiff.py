"""bsdiff: the smallest patches for executables, for seconds of CPU and much memory. A client needs `bspatch`.

A patch is the 32-byte head `BSDIFF40`, the sizes of two blocks and of the new file, and three bzip2 blocks: triples of
numbers (copy and add so many bytes, take so many new ones, move on in the old file by so many), differences, new bytes.
Which parts of the files match is found by HDiffPatch, several times as fast as bsdiff's own search, and with smaller
patches (`_matches`). Applying is bounded here, as a block of a few bytes can expand to gigabytes.

Source of the format: Colin Percival, "Naive differences of executable code", and bspatch of the BSD projects.
"""

from __future__ import annotations

import bz2
import struct
from itertools import chain
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import PatchError
from reconciler.model.delta import CodecTraits, Grade

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.contracts import Context

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "bsdiff, for executables.",
    "properties": {},
    "additionalProperties": False,
}

MAGIC = b"BSDIFF40"
HEAD = 32
_TRIPLE = 24
_SIGN = 1 << 63
_HEAD_NUMBERS = 11
MAX_IDLE = 1000
"""Triples in a row that make nothing; real patches have a few, and a block of zeros expands to any number."""
CHUNK = 2**20
MANY = 2**16
"""Bytes of packed differences from which on they are packed in small parts only."""


class Bsdiff:
    """The `Codec` protocol of reconciler/contracts.py; it has no levels."""

    traits = CodecTraits(
        name="bsdiff",
        tool="bspatch",
        based=True,
        grades=(
            Grade(1, frozenset({"pattern"}), ratio=0.0012, pace=0.09),
            Grade(1, frozenset({"engine", "driver", "service"}), ratio=0.04, pace=0.17),
        ),
        memory=12 * 2**20,
        memory_old=1.0,
        memory_new=1.0,
        making=4.0,
        max_size=2**30,
    )

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        del options, context

    def make(self, old: bytes, new: bytes, *, level: int, window: int = 0) -> bytes:
        """Give the patch; see `contracts.Codec`."""
        del level, window
        if max(len(old), len(new)) > self.traits.max_size:
            raise PatchError(f"bsdiff takes files of at most {self.traits.max_size} bytes")
        control, differences, extra = _Packed(), _Differences(old, new), _Packed()
        at, made, length = 0, 0, 0
        for start, target, long in chain(_matches(old, new), [(None, len(new), 0)]):
            literal = new[made + length : target]
            move = 0 if start is None else start - (at + length)
            control.add(struct.pack("<3Q", length, len(literal), _field(move)))
            differences.add(at, made, length)
            extra.add(literal)
            at, made, length = start or 0, target, long
        blocks = [control.end(), differences.end(), extra.end()]
        head = struct.pack("<3Q", len(blocks[0]), len(blocks[1]), len(new))
        return b"".join((MAGIC, head, *blocks))

    def check(self, patch: bytes, size: int) -> None:
        """Look at a patch's head; see `contracts.Codec`."""
        _blocks(patch, size)

    def apply(self, old: bytes, patch: bytes, size: int) -> Iterator[bytes]:
        """Give the new file in pieces; see `contracts.Codec`."""
        control, differences, extra = (_Block(block) for block in _blocks(patch, size))
        made, at, idle = 0, 0, 0
        while made < size:
            add, take, move = (_number(field) for field in struct.unpack("<3Q", control.read(_TRIPLE)))
            idle = 0 if add + take else idle + 1
            if add < 0 or take < 0 or idle > MAX_IDLE or made + add + take > size:
                raise PatchError("the bsdiff patch makes more than it promises, or nothing")
            for start in range(at, at + add, CHUNK):
                length = min(CHUNK, at + add - start)
                yield _added(old, start, differences.read(length))
            for start in range(0, take, CHUNK):
                yield extra.read(min(CHUNK, take - start))
            made += add + take
            at += add + move


class _Packed:
    """A bzip2 block that is made piece by piece."""

    def __init__(self, level: int = 9) -> None:
        self._writer = bz2.BZ2Compressor(level)
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, data: bytes) -> None:
        """Go on with some bytes."""
        self._take(self._writer.compress(data))

    def end(self) -> bytes:
        """Give the block."""
        self._take(self._writer.flush())
        return b"".join(self._parts)

    def _take(self, part: bytes) -> None:
        if part:
            self._parts.append(part)
            self.size += len(part)


class _Differences:
    """The block of differences; those of short matches are worked out together.

    Those of code are another kind of numbers every few pages, so bzip2 packs them better in small parts: 5 % less, and
    in half of the time. Few differences are packed better as a whole. So both are made until there are many.
    """

    def __init__(self, old: bytes, new: bytes) -> None:
        self._parted = _Packed(1)
        self._whole: _Packed | None = _Packed()
        self._files = old, new
        self._waiting: tuple[list[bytes], list[bytes]] = [], []
        self._size = 0

    def add(self, at: int, made: int, length: int) -> None:
        """Go on with a match, from `at` in the old file and from `made` in the new one."""
        for start in range(0, length, CHUNK):
            part = min(CHUNK, length - start)
            for waiting, data, place in zip(self._waiting, self._files, (at, made), strict=True):
                waiting.append(data[place + start : place + start + part])
            self._size += part
            if self._size >= CHUNK:
                self._work()

    def end(self) -> bytes:
        """Give the block."""
        self._work()
        blocks = [packed.end() for packed in (self._whole, self._parted) if packed is not None]
        return min(blocks, key=len)

    def _work(self) -> None:
        old, new = map(b"".join, self._waiting)
        self._waiting, self._size = ([], []), 0
        differences = _subtracted(new, old)
        self._parted.add(differences)
        if self._parted.size > MANY:
            self._whole = None
        if self._whole is not None:
            self._whole.add(differences)


def _matches(old: bytes, new: bytes) -> Iterator[tuple[int, int, int]]:
    """Find what both files have: places in the old and in the new one, and a length, in the order of the new one.

    HDiffPatch gives them as the head of a patch of its own, `HDIFF13`: after its name and a zero byte eleven numbers,
    of which the third counts the matches and the fourth is the size of their block. A match is how far its old place is
    from the end of the last one, how far its new place is, and its length.

    Raises:
        PatchError: they can't be found, or not read.
    """
    import hdiffpatch

    try:
        found = hdiffpatch.diff(old, new, None, validate=False, big_cache_match=True)
        at = found.index(b"\0") + 1
        head = []
        for _ in range(_HEAD_NUMBERS):
            value, at = _variable(found, at)
            head.append(value)
        from_old = from_new = 0
        for _ in range(head[2]):
            first = found[at]
            move, at = _variable(found, at, bits=6)
            gap, at = _variable(found, at)
            length, at = _variable(found, at)
            from_old += -move if first & 0x80 else move
            from_new += gap
            yield from_old, from_new, length
            from_old += length
            from_new += length
    except (hdiffpatch.HDiffPatchError, MemoryError, ValueError, IndexError) as error:
        raise PatchError(f"bsdiff can't make a patch: {error}") from error


def _variable(data: bytes, at: int, *, bits: int = 7) -> tuple[int, int]:
    """Read a number of seven bits a byte, of which the first has only `bits`; give it, and where it ends."""
    more = 1 << bits
    byte = data[at]
    value, at = byte & (more - 1), at + 1
    while byte & more:
        byte, more = data[at], 0x80
        value, at = value << 7 | byte & 0x7F, at + 1
    return value, at


def _field(number: int) -> int:
    """Write a number as bsdiff does; see `_number`."""
    return number if number >= 0 else -number | _SIGN


def _subtracted(new: bytes, old: bytes) -> bytes:
    """Take the old bytes from the new ones, one by one without a borrow."""
    if new == old:
        return bytes(len(new))
    # As in `_added`; what is borrowed comes from the byte above.
    length = len(new)
    mask, room = (int.from_bytes(pair * (length // 2 + 1), "little") for pair in (b"\xff\0", b"\0\1"))
    left, right = int.from_bytes(new, "little"), int.from_bytes(old, "little")
    even = ((left & mask | room) - (right & mask)) & mask
    odd = ((left >> 8 & mask | room) - (right >> 8 & mask)) & mask
    return ((even | odd << 8) & ((1 << 8 * length) - 1)).to_bytes(length, "little")


def _blocks(patch: bytes, size: int) -> tuple[bytes, bytes, bytes]:
    if len(patch) < HEAD or not patch.startswith(MAGIC):
        raise PatchError("it is no bsdiff patch")
    control, differences, new = (_number(field) for field in struct.unpack("<3Q", patch[8:HEAD]))
    if control < 0 or differences < 0 or HEAD + control + differences > len(patch):
        raise PatchError("the bsdiff patch is cut short")
    if new != size:
        raise PatchError(f"the bsdiff patch makes {new} bytes, not {size}")
    second = HEAD + control
    return patch[HEAD:second], patch[second : second + differences], patch[second + differences :]


def _number(field: int) -> int:
    """Read a number as bsdiff writes it: the highest bit is the sign of the others."""
    return -(field - _SIGN) if field & _SIGN else field


def _added(old: bytes, start: int, differences: bytes) -> bytes:
    """Add differences to the old file's bytes, one by one without a carry; outside of the old file there are zeros."""
    end = start + len(differences)
    base = bytes(min(max(-start, 0), len(differences))) + old[max(start, 0) : max(end, 0)]
    base += bytes(len(differences) - len(base))
    if not any(differences):
        return base
    # The sums of all even and of all odd bytes at once: each has the byte above it as room for its carry.
    length = len(differences)
    mask = int.from_bytes(b"\xff\0" * (length // 2 + 1), "little") & ((1 << 8 * length) - 1)
    left, right = int.from_bytes(base, "little"), int.from_bytes(differences, "little")
    even = ((left & mask) + (right & mask)) & mask
    other = ((left >> 8) & mask) + ((right >> 8) & mask)
    odd = (other & mask) << 8
    return ((even | odd) & ((1 << 8 * length) - 1)).to_bytes(length, "little")


class _Block:
    """A bzip2 block that is read piece by piece, so that a small one can't fill the memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._reader = bz2.BZ2Decompressor()
        self._ready = b""

    def read(self, length: int) -> bytes:
        """Give exactly so many bytes."""
        parts, have = [], 0
        while have < length:
            if not self._ready:
                self._ready = self._more()
            part, self._ready = self._ready[: length - have], self._ready[length - have :]
            parts.append(part)
            have += len(part)
        return b"".join(parts)

    def _more(self) -> bytes:
        try:
            piece = self._reader.decompress(self._data, max_length=CHUNK)
        except (OSError, ValueError, EOFError) as error:
            raise PatchError(f"the bsdiff patch is damaged: {error}") from error
        self._data = b""
        if not piece and (self._reader.eof or self._reader.needs_input):
            raise PatchError("the bsdiff patch is cut short")
        return piece


TRAITS = Traits()
PLUGIN = Bsdiff
