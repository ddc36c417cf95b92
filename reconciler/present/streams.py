"""Standard output and error, so that writing to them never fails: what becomes of a fleet doesn't hang on a pipe.

A stream may be closed, full, or lose its reader or its terminal in the midst of a run, and its encoding may not have
every character. The first error is remembered, and what comes later is thrown away: half a document with a hole would
be worse than half a document. Characters that the encoding doesn't have are escaped as JSON does it.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import shutil
import sys
from typing import TYPE_CHECKING

from reconciler.present.look import Look

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from _typeshed import ReadableBuffer

ESCAPE = "updoser.escape"
"""What encodes any text in any encoding: characters that it doesn't have are written as JSON escapes them."""


class Outlet(io.RawIOBase):
    """An open descriptor that takes everything. `trouble` is the error since which nothing was written any more."""

    def __init__(self, number: int, *, closed: bool = False) -> None:
        """Take the number of a descriptor; `closed`: it was closed, and what has its number now is a stopgap."""
        self._number = number
        self._closed = closed
        self.name = f"<descriptor {number}>"
        self.trouble: OSError | None = None

    def writable(self) -> bool:
        """Say yes."""
        return True

    def fileno(self) -> int:
        """Give the number of the descriptor."""
        return self._number

    def isatty(self) -> bool:
        """Say whether it leads to a terminal."""
        return not self._closed and os.isatty(self._number)

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all that can be written, and say that it was all."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        if size and self._closed:
            self.trouble = OSError(errno.EBADF, "it is closed")
        while rest and self.trouble is None:
            try:
                rest = rest[os.write(self._number, rest) :]
            except BlockingIOError:  # another process that shares it doesn't want to wait; this one does
                waiting = select.poll()
                waiting.register(self._number, select.POLLOUT)
                waiting.poll()
            except OSError as error:
                self.trouble = error
        return size


def take_streams() -> tuple[Outlet, Outlet]:
    """Replace `sys.stdout` and `sys.stderr` for the rest of the process; give where they lead.

    Closed descriptors are opened, so that no file or socket that is opened later gets their number.
    """
    missing = {number for number in range(3) if not _is_open(number)}
    for _each in missing:
        os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    out, err = Outlet(1, closed=1 in missing), Outlet(2, closed=2 in missing)
    sys.stdout, sys.stderr = _text(out, sys.stdout), _text(err, sys.stderr)
    return out, err


def _text(outlet: Outlet, before: TextIO | None) -> io.TextIOWrapper:
    """Nothing is kept back: a signal handler may write in the midst of another write."""
    encoding = before.encoding if before is not None else "utf-8"
    return io.TextIOWrapper(outlet, encoding, ESCAPE, write_through=True)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)), error.end


codecs.register_error(ESCAPE, _escape)


_NARROWEST = 40


def look_of(stream: TextIO, environ: Mapping[str, str] = os.environ) -> Look:
    """Give how a text looks on a stream."""
    dumb = environ.get("NO_COLOR") or environ.get("TERM") == "dumb"
    forced = environ.get("FORCE_COLOR", "") not in {"", "0"}
    on_terminal = stream.isatty()
    return Look(_width(environ) if on_terminal else None, not dumb and (on_terminal or forced))


def _width(environ: Mapping[str, str]) -> int:
    told = environ.get("COLUMNS", "")
    columns = int(told) if told.isdecimal() and int(told) else shutil.get_terminal_size((80, 24)).columns
    return max(columns, _NARROWEST)
