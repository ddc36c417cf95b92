"""Documents and files of the web, by their whole URL, for sources that find out by themselves where things are.

* A document is small and comes whole, below a limit. With the validators of the one that was had before, nothing comes
  where nothing changed: an answer 304 of a few hundred bytes.
* A file comes as a stream that survives cuts, and never of two different files: see `stream`.
* What is for the source's own host goes nowhere else: see `own`.
* A source that asks to be left alone is: see `cooldown`.
* Below `file:///`, on a medium that was carried here, the same holds of files below that folder.
"""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urljoin, urlsplit

from reconciler.errors import InterruptedRunError, SourceError
from reconciler.web.answer import part_of, validator_of
from reconciler.web.cooldown import Cooldown
from reconciler.web.files import HttpFiles
from reconciler.web.stream import CHUNK, HttpStatusError, Wish, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta
    from threading import Event

    from reconciler.contracts import Context
    from reconciler.web.connections import HttpOptions

NOT_MODIFIED = 304
_REFUSED = frozenset({400, 403, 405, 501})
"""What servers answer that know no HEAD, or sign each method by itself."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: `status` is 200, or 304 where nothing changed. `headers` are found however their names are written.

    `url` is where it came from after redirects; what is shown of it is `shown(url)`, as it may have a secret in it.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    url: str

    @property
    def etag(self) -> str:
        """The ETag, for the next time; empty where there is none."""
        return self.headers.get("ETag", "")

    @property
    def modified(self) -> str:
        """The time of the last change, for the next time; empty where it isn't told."""
        return self.headers.get("Last-Modified", "")

    @property
    def size(self) -> int | None:
        """The size of the whole file, as far as the server says it."""
        _start, size = part_of(self.headers)
        length = self.headers.get("Content-Length", "").strip()
        if size is None and "Content-Range" not in self.headers and length.isdecimal():
            return int(length[:18])
        return size

    @property
    def validator(self) -> str:
        """What tells this file from others at its place; empty where the server says too little. See `Web.open`."""
        return validator_of(self.headers)


class Stream(Protocol):
    """A file on its way; see `stream.DownloadStream`. It may be sought in before it is read."""

    headers: Mapping[str, str]

    def read(self, size: int = -1, /) -> bytes:
        """Read some bytes; none at the end."""

    def seek(self, offset: int, whence: int = ..., /) -> int:
        """Begin somewhere else than at the start."""

    def close(self) -> None:
        """Let go of it."""


class Web:
    """What is on the web, or on a medium, for one source; used by several threads at once."""

    def __init__(
        self, base_url: str, options: HttpOptions, context: Context, *, cooldowns: Mapping[int, timedelta] | None = None
    ) -> None:
        """Connect to nothing yet.

        `cooldowns` are statuses after which the source is left alone, and for how long unless it says so itself; those
        of `cooldown.DEFAULTS` count for 429 and, where the server names a time, 503, also without them.

        Raises:
            SourceError: the options can't be followed, or a medium is to be reached through a proxy.
        """
        self.base = base_url.rstrip("/") + "/"
        self._folder: Path | None = None
        self._stop = context.stop
        parts = urlsplit(self.base)
        if parts.scheme == "file":
            if context.proxy is not None:
                raise SourceError("a folder isn't reached through a proxy", hint="remove `proxy` from the source")
            self._folder = Path(unquote(parts.path))
        resting = frozenset(cooldowns or ())
        cooldown = Cooldown(context.work / "cooldown.json", context.clock, context.log, cooldowns)
        self._files = HttpFiles(base_url, options, context, cooldown, rests=lambda status, _url: status in resting)

    def check(self) -> None:
        """Go on unless the source is to be left alone; see `Cooldown.check`."""
        if self._folder is None:
            self._files.check()

    def reconnect(self) -> None:
        """Use no connection again that was open until now; see `HttpFiles.reconnect`."""
        self._files.reconnect()

    def whole(self, url: str) -> str:
        """Give the whole URL of one that may be relative to the base."""
        return urljoin(self.base, url)

    def is_own(self, url: str) -> bool:
        """Say whether a URL is on the source's own host, to which its credentials go."""
        return self._files.own.is_own(self.whole(url))

    def credentials(self) -> dict[str, str]:
        """Give the header with the user's name and password, for a host that the source's own one names; or none.

        Raises:
            SecretError: they can't be resolved.
        """
        return self._files.own.credentials()

    def get(
        self,
        url: str,
        *,
        limit: int,
        etag: str = "",
        since: str = "",
        headers: Iterable[tuple[str, str]] = (),
        first: int | None = None,
    ) -> Answer:
        """Get a document of at most `limit` bytes, unless it is the one that `etag` and `since` (HTTP date) are of.

        With `first` only so many bytes of its beginning are asked for and given, whether the server knows ranges or
        not; the answer is 200 then, too, and its `size` that of the whole.

        Raises:
            SourceError: it can't be had, is larger, or was packed on the way; HttpStatusError, with status and headers,
                where the server has another answer.
        """
        target = self.whole(url)
        if self._folder is not None:
            return self._from_folder(target, limit, etag, since, first)
        unless = {"If-None-Match": etag} if etag else {}
        if since:
            unless["If-Modified-Since"] = since
        wish = Wish(headers=dict(headers), unless=unless, first=first, keeps=True)
        stream = self._files.stream(target, wish)
        try:
            stream.begin()
            if stream.status == NOT_MODIFIED:
                return Answer(NOT_MODIFIED, b"", stream.headers, stream.place)
            body = _read(stream, limit, first, target, self._stop)
            return Answer(200, body, stream.headers, stream.place)
        finally:
            stream.close()

    def head(self, url: str, *, headers: Iterable[tuple[str, str]] = ()) -> Answer:
        """Get what the server says of a file, without its bytes; of one that knows no HEAD by asking for its first one.

        Raises:
            SourceError: see `get`.
        """
        target = self.whole(url)
        if self._folder is not None:
            found = self._from_folder(target, 0, "", "", 0)
            return Answer(200, b"", found.headers, found.url)
        stream = self._files.stream(target, Wish("HEAD", headers=dict(headers)))
        try:
            stream.begin()
            return Answer(200, b"", stream.headers, stream.place)
        except HttpStatusError as error:
            if error.status not in _REFUSED:
                raise
        finally:
            stream.close()
        found = self.get(target, limit=1, headers=headers, first=1)
        return Answer(200, b"", found.headers, found.url)

    def open(self, url: str, *, headers: Iterable[tuple[str, str]] = (), validator: str = "") -> Stream:
        """Open a file; it is asked for at the first read, and may be sought in before.

        It is one file from its first to its last byte, and the one that has the `validator`, where one is given.

        Raises:
            SourceError, when it is read: it can't be had; ChangedError: there is another one at its place.
        """
        target = self.whole(url)
        if self._folder is not None:
            return _FileStream(self._place(target))
        return self._files.stream(target, Wish(headers=dict(headers), keeps=True, validator=validator))

    # --- a medium -----------------------------------------------------------------------------------------------------

    def _place(self, url: str) -> Path:
        assert self._folder is not None
        if urlsplit(url).scheme != "file":
            raise SourceError(f"{shown(url)} isn't on the medium", hint="what it names must be below the source's URL")
        place = Path(unquote(urlsplit(url).path))
        if ".." in place.parts or not place.is_relative_to(self._folder):
            raise HttpStatusError(404, f"{place} leads out of {self._folder}")
        if not self._folder.is_dir():
            raise SourceError(f"the folder {self._folder} isn't there")
        if not _is_within(place, self._folder):
            raise SourceError(f"{place} is a link that leads out of {self._folder}, which isn't followed")
        return place

    def _from_folder(self, url: str, limit: int, etag: str, since: str, first: int | None) -> Answer:
        with _FileStream(self._place(url)) as stream:
            said = stream.headers
            if etag == said["ETag"] or (not etag and since and since == said["Last-Modified"]):
                return Answer(NOT_MODIFIED, b"", said, url)
            return Answer(200, _read(stream, limit, first, url, self._stop), said, url)


class _FileStream(io.FileIO):
    """A file of a folder that tells of itself what a web server would."""

    def __init__(self, place: Path) -> None:
        try:
            number = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise HttpStatusError(404, f"{place} isn't there") from error
        except (OSError, ValueError) as error:
            raise SourceError(f"{place} can't be read: {getattr(error, 'strerror', None) or error}") from error
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            os.close(number)
            raise SourceError(f"{place} is no file")
        super().__init__(number, "rb")
        self.headers: Mapping[str, str] = _headers(found)
        self._place = place

    def read(self, size: int | None = -1) -> bytes:
        """Read some bytes; none at the end."""
        try:
            return super().read(-1 if size is None else size)
        except OSError as error:
            raise SourceError(f"{self._place} can't be read: {error.strerror}") from error


def _is_within(place: Path, folder: Path) -> bool:
    """Say whether a place is in a folder with all links followed: who made a medium could name any file here."""
    try:
        return place.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # nothing can be opened there, which is told as that
        return True


def _headers(found: os.stat_result) -> Mapping[str, str]:
    from urllib3 import HTTPHeaderDict

    return HTTPHeaderDict(
        {
            "ETag": f'"{found.st_mtime_ns:x}-{found.st_size:x}"',
            "Last-Modified": formatdate(found.st_mtime, usegmt=True),
            "Content-Length": str(found.st_size),
        }
    )


def _read(stream: io.RawIOBase, limit: int, first: int | None, url: str, stop: Event) -> bytes:
    """Read a document to its end, or its beginning.

    Raises:
        SourceError: it is larger than the limit.
        InterruptedRunError: the run is stopped.
    """
    wanted = limit + 1 if first is None else min(first, limit + 1)
    parts, size = [], 0
    while size < wanted and (data := stream.read(min(CHUNK, wanted - size))):
        parts.append(data)
        size += len(data)
        if stop.is_set():
            raise InterruptedRunError("the run is stopped")
    if size > limit:
        raise SourceError(f"{shown(url)} has more than {limit} bytes, which is too much for what it should be")
    return b"".join(parts)
