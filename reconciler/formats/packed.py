"""Compressed bytes of others, unpacked as a stream within limits: gzip, xz, bzip2 and zstd.

What comes out is counted while it comes, against a limit and against what went in: a small file that unpacks to
something vast is refused long before it fills a disk. A decompressor may take WINDOW bytes of memory. Data that is cut,
damaged or followed by something else is refused; several streams one after the other are one, as the tools have it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

CHUNK = 2**16
WINDOW = 27
"""The exponent of 2 of the memory that a decompressor may take: what `zstd -d` and `xz -9` are content with."""
MAX_STREAMS = 100_000
FREE = 2**24
"""Bytes that may come out of however few."""
RATIO = 250
"""How many times its packed size something may have: rules and signatures have 5 to 30."""
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_LONGEST_MAGIC = 6


class ArchiveError(ValueError):
    """It can't be unpacked; the message says why, as the rest of a sentence that names it."""


class Budget:
    """What may come out of an archive: `limit` bytes in all."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._left = limit

    def spend(self, size: int) -> None:
        """Count bytes that came out.

        Raises:
            ArchiveError: they are too many.
        """
        self._left -= size
        if self._left < 0:
            raise ArchiveError(f"it has more than {self.limit} bytes unpacked, which is the limit")


def check_ratio(made: int, taken: int) -> None:
    """Hold how much came out against how much went in.

    Raises:
        ArchiveError: no file that is of use packs that well.
    """
    if made > FREE and made > RATIO * taken:
        raise ArchiveError(f"it unpacks to more than {RATIO} times its size")


def packing(first: bytes) -> str:
    """Say how a file is packed, by its first bytes; empty where it isn't, or in no way that is known."""
    return next((name for magic, name in _MAGIC if first.startswith(magic)), "")


def unpacked(stream: BinaryIO, budget: Budget) -> Iterator[bytes]:
    """Give the bytes of a stream in pieces, unpacked where it is packed.

    Raises:
        ArchiveError: it is damaged, cut short or too large.
    """
    first = stream.read(CHUNK)
    kind = packing(first)
    pieces = _plain(stream, first) if not kind else _streams(stream, first, kind)
    for piece in pieces:
        budget.spend(len(piece))
        yield piece


def _plain(stream: BinaryIO, piece: bytes) -> Iterator[bytes]:
    while piece:
        yield piece
        piece = stream.read(CHUNK)


def _streams(stream: BinaryIO, rest: bytes, kind: str) -> Iterator[bytes]:
    make, foreign = _decompressor(kind)
    source = _Input(stream, rest)
    made = 0
    for _number in range(MAX_STREAMS):
        reader = make()
        while not reader.eof:
            if reader.needs_input and not source.rest and not source.more():
                raise ArchiveError(f"it is cut short: its {kind} data has no end")
            try:
                piece = reader.decompress(source.take(), CHUNK)
            except foreign as error:
                raise ArchiveError(f"its {kind} data is damaged: {error}") from error
            made += len(piece)
            check_ratio(made, source.taken)
            if piece:
                yield piece
        source.rest = reader.unused_data
        if not source.has_another():
            return
        if packing(source.rest) != kind:
            raise ArchiveError(f"something else follows after its {kind} data")
    raise ArchiveError(f"it has more than {MAX_STREAMS} streams of {kind} data")


class _Input:
    """What is read of a packed file, and how much that was."""

    def __init__(self, stream: BinaryIO, rest: bytes) -> None:
        self._stream = stream
        self.rest = rest
        self.taken = len(rest)

    def more(self) -> bool:
        """Read on; false at the end."""
        data = self._stream.read(CHUNK)
        self.taken += len(data)
        self.rest += data
        return bool(data)

    def take(self) -> bytes:
        data, self.rest = self.rest, b""
        return data

    def has_another(self) -> bool:
        """Pass what pads tapes and xz, and say whether something is left, with enough of it to be known by."""
        while not self.rest.strip(b"\0"):
            self.rest = b""
            if not self.more():
                return False
        self.rest = self.rest.lstrip(b"\0")
        if len(self.rest) < _LONGEST_MAGIC:
            self.more()
        return True


def _decompressor(kind: str) -> tuple[Callable[[], Any], tuple[type[Exception], ...]]:
    """Give what makes a decompressor (of the form of bz2's), and what it raises."""
    if kind == "gzip":
        import zlib

        return _Inflater, (zlib.error,)
    if kind == "xz":
        import lzma

        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2**WINDOW), (lzma.LZMAError, MemoryError)
    if kind == "bzip2":
        import bz2

        return bz2.BZ2Decompressor, (OSError, ValueError)
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW}
    return lambda: zstd.ZstdDecompressor(options=options), (zstd.ZstdError, MemoryError)


class _Inflater:
    """gzip in the form of the other decompressors."""

    def __init__(self) -> None:
        import zlib

        self._inner = zlib.decompressobj(zlib.MAX_WBITS | 16)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, most: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, most)
