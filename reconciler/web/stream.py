"""A file on its way from a web server, as a stream that survives cuts.

* When the connection breaks in the middle the server is asked for the rest (Range, and If-Range where it names a strong
  ETag). One that begins before that place is read past what was had; one that gives no such part, whatever it says
  instead, is asked for everything in the same run.
* Failures are tried again with growing pauses, as long as bytes still come in between; the last tries ask for
  everything.
* A stream that `keeps` to one file is for bytes whose digest nobody knows: it begins with the validator that it is
  given, goes on with the same one only, and takes no answer that was packed on the way.
"""

from __future__ import annotations

import io
import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reconciler.errors import InterruptedRunError, SourceError
from reconciler.web.answer import identity_of, packed, part_of, was_changed
from reconciler.web.pace import Floor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import urllib3

    from reconciler.web.files import HttpFiles

TRIES = 5
"""How often a file is asked for without a byte of progress in between."""
PAUSE, LONGEST_PAUSE = 0.5, 8.0
CHUNK = 2**20
_SHOWN = 300
_ABOUT_THE_FILE = frozenset({401, 404, 407, 410})
"""What a server answers whichever part it is asked for."""
_NOT_MODIFIED = 304


class HttpStatusError(SourceError):
    """The server answered with another status than a file has; `headers` are those of its answer."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class ChangedError(SourceError):
    """What is at a place isn't what was there when it was first read."""


class SlowError(SourceError):
    """Bytes come too slowly to be waited for."""


class BrokenError(Exception):
    """A request or a stream broke in a way that may pass; `wait` is what the server asked for, in seconds."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for at a URL: `headers` always, `unless` (a condition) with the first request for all of it.

    `first` is how many bytes of the beginning are wanted, where not all are. `validator` is what the file must have
    that is read; `keeps` has each answer be about one and the same.
    """

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    unless: Mapping[str, str] = field(default_factory=dict)
    first: int | None = None
    keeps: bool = False
    validator: str = ""


class ForwardStream(io.RawIOBase):
    """A stream of which only the place of its beginning can be chosen, before anything of it came."""

    def __init__(self) -> None:
        self._position = 0

    @property
    def _begun(self) -> bool:
        """Whether something of it may have come."""
        raise NotImplementedError

    def _drop(self) -> None:
        """Let go of what it comes from; one that still has bytes on it isn't used again."""
        raise NotImplementedError

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say whether it can be sought in: before it is read."""
        return not self._begun

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Begin somewhere else than at the start."""
        if whence != os.SEEK_SET or self._begun:
            raise io.UnsupportedOperation("only the place of the beginning can be chosen")
        self._position = offset
        return offset

    def tell(self) -> int:
        """Give the place of the next byte."""
        return self._position

    def close(self) -> None:
        """Let go of the connection."""
        self._drop()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; see `read`."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class DownloadStream(ForwardStream):
    """A file on its way. It survives cuts: what was read stays read, and the rest is asked for.

    `headers` are those of the last answer, `place` is the URL that gave it, and `status` is 304 where the condition of
    the wish holds.
    """

    def __init__(self, files: HttpFiles, url: str, wish: Wish | None = None) -> None:
        self._files = files
        self._url = url
        self._wish = wish or Wish()
        super().__init__()
        self._response: urllib3.BaseHTTPResponse | None = None
        self.headers: Mapping[str, str] = {}
        self.status = 200
        self.place = url
        self._etag = ""
        self._validator = self._wish.validator
        self._size: int | None = None
        self._whole = False
        self._skip = 0
        self._tries = 0
        self._deadline = time.monotonic() + files.options.total
        self._floor = Floor()

    @property
    def _begun(self) -> bool:
        return self._response is not None

    def read(self, size: int = -1) -> bytes:
        """Read some bytes, at most `size`; none at the end. Without a size: all that is left.

        Raises:
            SourceError: it can't be had, or comes too slowly.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        while True:
            try:
                self._ready()
                return self._some(size)
            except BrokenError as trouble:
                self._again(trouble)
            except BaseException:
                self._drop()  # whoever gets an error may not come to close what it is about
                raise

    def begin(self) -> None:
        """Have the head of an answer come, and read nothing of the file yet.

        Raises:
            SourceError: none comes, or not the one that was asked for.
        """
        while True:
            try:
                return self._ready()
            except BrokenError as trouble:
                self._again(trouble)

    def _ready(self) -> None:
        if self._response is None:
            self._response = self._begin()

    def _some(self, size: int) -> bytes:
        assert self._response is not None
        limit = self._files.limit
        while True:
            try:
                data = self._response.read1(min(size, limit.piece or size), decode_content=False)
            except Exception as error:  # whatever a server sends
                raise BrokenError(words_of(error)) from error
            limit.spend(len(data))
            if time.monotonic() > self._deadline:
                raise SlowError(f"{shown(self._url)} wasn't complete after {self._files.options.total:.0f} s")
            if self._floor.count(len(data)) and data:
                raise SlowError(f"{shown(self._url)} comes at less than {Floor.LEAST} bytes a second")
            if self._skip and data:
                passed = min(self._skip, len(data))
                self._skip -= passed
                data = data[passed:]
                if not data:
                    continue
            if data:
                self._tries = 0
            elif self._size is not None and self._position < self._end(self._size):
                raise BrokenError(f"{shown(self._url)}: the server sent less than the part that was asked for")
            self._position += len(data)
            return data

    def _begin(self) -> urllib3.BaseHTTPResponse:
        """Ask for the file from the place where we are; for all of it, where the server doesn't give that part."""
        response = self._rest() if self._position and not self._whole and self._tries < TRIES - 2 else None
        if response is None:
            response = self._all()
        self.headers = response.headers
        _start, self._size = part_of(self.headers)
        etag = self.headers.get("ETag", "")
        self._etag = "" if etag.startswith("W/") else etag
        if self._wish.keeps:
            try:
                self._check()
            except BaseException:
                response.close()
                raise
        return response

    def _check(self) -> None:
        """See to it that the answer is about the file that was begun with, as it is.

        Raises:
            ChangedError: it is about another one.
            SourceError: it was packed on the way.
        """
        odd = packed(self.headers, self._url)
        if odd and self.status != _NOT_MODIFIED:
            raise SourceError(f"{shown(self._url)}: {odd}")
        found = identity_of(self.headers)
        if was_changed(self._validator, found):
            raise ChangedError(f"{shown(self._url)} changed while it was downloaded")
        self._validator = self._validator or found

    def _end(self, size: int) -> int:
        """Give where what is wanted ends, of a file of this size."""
        return size if self._wish.first is None else min(size, self._wish.first)

    def _rest(self) -> urllib3.BaseHTTPResponse | None:
        """Ask for what is behind the place where we are; None where the answer is of no use for that."""
        last = self._wish.first - 1 if self._wish.first is not None else ""
        headers = {**self._wish.headers, "Range": f"bytes={self._position}-{last}"}
        if self._etag:
            headers["If-Range"] = self._etag
        try:
            response = self._ask(headers)
        except HttpStatusError as error:
            if error.status in _ABOUT_THE_FILE:
                raise
            self._whole = True
            return None
        start, size = part_of(response.headers)
        if response.status == 200:
            start = 0
        elif response.status == 416 and size == self._position:  # there is nothing behind what we have
            response.close()
            return _empty()
        if start is not None and start <= self._position and response.status != 416:
            self._skip = self._position - start
            return response
        response.close()
        self._whole = True
        return None

    def _all(self) -> urllib3.BaseHTTPResponse:
        """Ask for the whole file, or all that is wanted of it, to be read past what we have."""
        wish = self._wish
        headers = {**wish.headers, **({} if self._position else wish.unless)}
        if wish.first is not None:
            headers["Range"] = f"bytes=0-{wish.first - 1}"
        response = self._ask(headers)
        start, size = part_of(response.headers)
        self.status = 200
        if response.status == _NOT_MODIFIED and not self._position and wish.unless:
            self.status = _NOT_MODIFIED
        elif response.status == 416 and size == 0 and wish.first is not None:  # there is nothing in it
            response.close()
            return _empty()
        elif response.status != 200 and (response.status, start) != (206, 0):
            response.close()
            if response.status != 206:  # nobody asked whether it changed, or for a part
                raise HttpStatusError(response.status, f"{shown(self._url)}: HTTP {response.status}", response.headers)
            raise SourceError(f"{shown(self._url)}: the server sent another part than was asked for")
        self._skip = self._position
        return response

    def _ask(self, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        response, self.place = self._files.request(self._url, headers, self._wish.method)
        return response

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def _again(self, trouble: BrokenError) -> None:
        """Wait before the next try, or give up; nothing is tried again once the run is stopped."""
        self._drop()
        self._tries += 1
        if self._tries >= TRIES or time.monotonic() > self._deadline:
            raise SourceError(f"{trouble} ({self._tries} tries)") from trouble
        pause = min(PAUSE * 2 ** (self._tries - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311
        if self._files.stop.wait(trouble.wait if trouble.wait is not None else pause):
            raise InterruptedRunError("the run is stopped") from trouble


def _empty() -> urllib3.BaseHTTPResponse:
    import urllib3

    return urllib3.HTTPResponse(body=io.BytesIO(), preload_content=False)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error, what caused it, what caused that, and so on."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        inner = getattr(seen, "original_error", None)
        if isinstance(inner, BaseException):
            yield from causes(inner)
        seen = seen.__cause__


def words_of(error: Exception) -> str:
    """Say in one line what a library said, without what it says of itself."""
    innermost = list(causes(error))[-1]
    text = getattr(innermost, "strerror", None) or str(innermost) or type(innermost).__name__
    return " ".join(str(text).split())


def shown(url: str) -> str:
    """Give a URL as it may be shown: without what could be a secret in it."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"[:_SHOWN]
    except ValueError:
        return "an address that is none"
