"""zstd with the old file as prefix: small patches for text and sorted records, in a fraction of a second.

The new file is compressed as if it went on where the old one ends (what `zstd --patch-from` does; both read each
other's patches). Long-distance matching is on and the window covers both files: without either, the patch of a large
file is about as big as the file. A client needs the `zstd` command, 1.4.5 or later.

Level 17 isn't zstd's own: it is for large texts of which little is new. All places of both files stand in one tree that
is searched flatly; patches are as small as those of level 19, in less than half of its time.

Source of the numbers: measured on real releases; `make bench` repeats it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from reconciler.contracts import Traits
from reconciler.errors import PatchError
from reconciler.model.delta import CodecTraits, Grade

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.contracts import Context
    from reconciler.model.release import ComponentKind

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

OPTIONS: Mapping[str, Any] = {
    "type": "object",
    "description": "zstd with the old file as prefix.",
    "properties": {},
    "additionalProperties": False,
}

MIN_WINDOW = 10
MAX_WINDOW = 31
CHUNK = 2**20
MAX_TREE = 27
"""The exponent of 2 of how many numbers a tree holds: two for each place, of four bytes."""
_TEXT = 17
_PATTERNS: frozenset[ComponentKind] = frozenset({"pattern"})
_BINARIES: frozenset[ComponentKind] = frozenset({"engine", "driver", "service"})


class Zstd:
    """The `Codec` protocol of reconciler/contracts.py."""

    traits = CodecTraits(
        name="zstd",
        tool="zstd",
        based=True,
        grades=(
            Grade(9, _PATTERNS, ratio=0.0015, pace=0.005),
            Grade(_TEXT, _PATTERNS, ratio=0.0011, pace=0.09, memory=4 << MAX_TREE),
            Grade(12, _BINARIES, ratio=0.11, pace=0.04, memory=2**25),
            Grade(19, _BINARIES, ratio=0.08, pace=0.6, memory=5 * 2**24),
        ),
        memory=8 * 2**20,
        memory_old=1.0,
        memory_new=1.0,
        making=2.25,
        max_size=2**30,
        samples=(Grade(1, _PATTERNS, ratio=0.0022, pace=0.002), Grade(1, _BINARIES, ratio=0.135, pace=0.005)),
    )

    def __init__(self, options: Mapping[str, Any], context: Context) -> None:
        del options, context

    def make(self, old: bytes, new: bytes, *, level: int, window: int = 0) -> bytes:
        """Give the patch; see `contracts.Codec`."""
        if max(len(old), len(new)) > self.traits.max_size:
            raise PatchError(f"zstd takes files of at most {self.traits.max_size} bytes")
        covering = max(len(old), len(new)).bit_length()
        covered = min(max(window or covering, MIN_WINDOW), MAX_WINDOW)
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: level,
            zstd.CompressionParameter.window_log: covered,
            zstd.CompressionParameter.enable_long_distance_matching: 1,
            zstd.CompressionParameter.checksum_flag: 1,
            **(_for_text(covered) if level == _TEXT else {}),
        }
        try:
            return bytes(zstd.compress(new, options=options, zstd_dict=_prefix(old)))
        except zstd.ZstdError as error:
            raise PatchError(f"zstd can't make a patch: {error}") from error

    def check(self, patch: bytes, size: int) -> None:
        """Look at a patch's head; see `contracts.Codec`."""
        try:
            promised: int | None = zstd.get_frame_info(patch).decompressed_size
        except zstd.ZstdError as error:
            raise PatchError(f"it is no zstd patch: {error}") from error
        if promised not in {None, size}:
            raise PatchError(f"the zstd patch makes {promised} bytes, not {size}")

    def apply(self, old: bytes, patch: bytes, size: int) -> Iterator[bytes]:
        """Give the new file in pieces; see `contracts.Codec`."""
        self.check(patch, size)
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW}
        made = 0
        try:
            reader = zstd.ZstdDecompressor(zstd_dict=_prefix(old), options=options)
            rest = patch
            while not reader.eof:
                piece = reader.decompress(rest, max_length=CHUNK)
                rest = b""
                made += len(piece)
                if made > size:
                    raise PatchError(f"the zstd patch makes more than {size} bytes")
                if piece:
                    yield piece
                elif reader.needs_input and not reader.eof:
                    raise PatchError("the zstd patch is cut short")
        except (zstd.ZstdError, MemoryError) as error:
            raise PatchError(f"the zstd patch can't be applied: {error}") from error
        if made != size or reader.unused_data:
            raise PatchError(f"the zstd patch makes {made} bytes, not {size}")


def _for_text(window: int) -> dict[int, int]:
    """Give what differs from zstd's own parameters for large texts of which little is new."""
    parameter = zstd.CompressionParameter
    return {
        parameter.strategy: zstd.Strategy.btultra,
        parameter.chain_log: min(window + 1, MAX_TREE),
        parameter.hash_log: min(window, 20),
        parameter.search_log: 2,
        parameter.min_match: 5,
        parameter.target_length: 999,
        parameter.ldm_min_match: 128,
        parameter.ldm_hash_rate_log: 4,
    }


def _prefix(old: bytes) -> Any:
    return zstd.ZstdDict(old, is_raw=True).as_prefix if len(old) >= 8 else None


TRAITS = Traits()
PLUGIN = Zstd
