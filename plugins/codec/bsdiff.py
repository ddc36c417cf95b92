"""bsdiff: the smallest patches for executables, for seconds of CPU and much memory. A client needs `bspatch`.

A patch is the 32-byte head `BSDIFF40`, the sizes of two blocks and of the new file, and three bzip2 blocks: triples of
numbers (copy and add so many bytes, take so many new ones, move on in the old file by so many), differences, new bytes.
The package bsdiff4 makes them; applying is bounded here, as a block of a few bytes can expand to gigabytes.

Source of the format: Colin Percival, "Naive differences of executable code", and bspatch of the BSD projects.
"""

from __future__ import annotations

import bz2
import struct
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
MAX_IDLE = 1000
"""Triples in a row that make nothing; real patches have a few, and a block of zeros expands to any number."""
CHUNK = 2**20


class Bsdiff:
    """The `Codec` protocol of reconciler/contracts.py; it has no levels."""

    traits = CodecTraits(
        name="bsdiff",
        tool="bspatch",
        based=True,
        grades=(
            Grade(1, frozenset({"pattern"}), ratio=0.0011, pace=0.5),
            Grade(1, frozenset({"engine", "driver", "service"}), ratio=0.045, pace=0.5),
        ),
        memory=2**20,
        memory_old=1.0,
        memory_new=2.0,
        making=9.0,
        max_size=64 * 2**20,
    )

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        del options, context

    def make(self, old: bytes, new: bytes, *, level: int, window: int = 0) -> bytes:
        """Give the patch; see `contracts.Codec`."""
        import bsdiff4

        del level, window
        if max(len(old), len(new)) > self.traits.max_size:
            raise PatchError(f"bsdiff takes files of at most {self.traits.max_size} bytes")
        return bytes(bsdiff4.diff(old, new))

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
