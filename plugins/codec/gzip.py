"""gzip: packs a file by itself, for clients that have nothing to patch or nothing to patch with.

Every client has `gzip`. What is packed makes the full smaller on its way; it is no delta.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import PatchError
from reconciler.model.delta import CodecTraits, Grade

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.contracts import Context

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "Packs fulls on their way to clients.",
    "properties": {},
    "additionalProperties": False,
}

MAGIC = b"\x1f\x8b\x08"
CHUNK = 2**20
MAX_LEVEL = 9
_GZIP = 31
"""What zlib calls 15 bits of window with the head and checksum of gzip; the head has no name and no time."""
_GRADES = (
    Grade(6, frozenset({"pattern"}), ratio=0.35, pace=0.03),
    Grade(6, frozenset({"engine", "driver", "service"}), ratio=0.45, pace=0.04),
)


class Gzip:
    """The `Codec` protocol of reconciler/contracts.py; the old file doesn't matter to it."""

    traits = CodecTraits(
        name="gzip",
        tool="gzip",
        based=False,
        grades=_GRADES,
        memory=2**20,
        memory_old=0.0,
        memory_new=0.0,
        making=1.5,
        max_size=2**30,
        samples=_GRADES,
    )

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        del options, context

    def make(self, old: bytes, new: bytes, *, level: int, window: int = 0) -> bytes:
        """Give the packed file; see `contracts.Codec`."""
        del old, window
        packer = zlib.compressobj(min(level, MAX_LEVEL), zlib.DEFLATED, _GZIP)
        return packer.compress(new) + packer.flush()

    def check(self, patch: bytes, size: int) -> None:
        """Look at the head; see `contracts.Codec`."""
        if not patch.startswith(MAGIC) or len(patch) < 18:
            raise PatchError("it is no gzip file")
        if int.from_bytes(patch[-4:], "little") != size % 2**32:
            raise PatchError(f"the gzip file doesn't hold {size} bytes")

    def apply(self, old: bytes, patch: bytes, size: int) -> Iterator[bytes]:
        """Give the file in pieces; see `contracts.Codec`."""
        del old
        self.check(patch, size)
        reader, rest, made = zlib.decompressobj(_GZIP), patch, 0
        while not reader.eof:
            try:
                piece = reader.decompress(rest, CHUNK)
            except zlib.error as error:
                raise PatchError(f"the gzip file is damaged: {error}") from error
            rest = reader.unconsumed_tail
            made += len(piece)
            if made > size or (not piece and not reader.eof):
                raise PatchError("the gzip file is cut short" if made <= size else f"it holds more than {size} bytes")
            if piece:
                yield piece
        if made != size or reader.unused_data:
            raise PatchError(f"the gzip file holds {made} bytes, not {size}")


TRAITS = Traits()
PLUGIN = Gzip
