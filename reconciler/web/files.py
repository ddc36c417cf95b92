"""Files from a web server or a folder, by their path below one URL.

* A file comes as a stream that survives cuts (`stream`). A server that is busy is waited for if it says a short time,
  and left alone for the time that it says, or a usual one, if not (`cooldown`).
* Redirects are followed, never from https to http. What is for the source's own host doesn't go along to another one:
  credentials, and the headers and the query of its options (`own`).
* Nothing is decoded on the way: what is stored has the length that was signed.
"""

from __future__ import annotations

import io
import os
import stat
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urljoin, urlsplit

from reconciler.errors import SourceError, UpdoserError, printable
from reconciler.web.connections import Connections, HttpOptions, trouble_of
from reconciler.web.cooldown import FORBIDDEN, TOO_MANY, UNAVAILABLE, Cooldown, spent_until, waiting_time
from reconciler.web.own import Own, origin
from reconciler.web.pace import Limit
from reconciler.web.stream import BrokenError, DownloadStream, HttpStatusError, Wish, shown, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import urllib3

    from reconciler.contracts import Context

WAITS = timedelta(seconds=10)
"""A source that asks for a longer pause is left alone until then."""
REDIRECTS = 5
AT_ONCE = 32
_RETRIED = frozenset({408, 425, 500, 502, 503, 504})
_FOR_ALL_HOSTS = frozenset(
    {"accept", "accept-encoding", "if-modified-since", "if-none-match", "if-range", "range", "user-agent"}
)
"""Headers that go along to another host; others could be secret."""


def _rests(status: int, url: str) -> bool:
    """Say whether an answer asks to leave a signed repository alone: see `cooldown`."""
    return status == FORBIDDEN and url.endswith("/timestamp.json")


class Files(Protocol):
    """Files below one place, by relative path."""

    def open(self, path: str) -> io.RawIOBase:
        """Open a file; it is asked for at the first read, and may be sought in before.

        Raises:
            SourceError: it can't be had; HttpStatusError when the server has an answer of its own.
        """


def files_at(url: str, options: HttpOptions, context: Context) -> Files:
    """Give the files below a URL: http, https or file."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FolderFiles(Path(unquote(parts.path)))
    cooldown = Cooldown(context.work / "cooldown.json", context.clock, context.log)
    return HttpFiles(url, options, context, cooldown)


class FolderFiles:
    """Files of a folder, such as a medium that was carried here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, path: str) -> io.RawIOBase:
        """Open a file; see `Files`."""
        if not self._folder.is_dir():
            raise SourceError(f"the folder {self._folder} isn't there")
        relative = Path(unquote(path))
        if relative.is_absolute() or ".." in relative.parts:  # a role's name can be anything
            raise HttpStatusError(404, f"{path!r} leads out of {self._folder}")
        place = self._folder / relative
        try:
            number = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if not stat.S_ISREG(os.fstat(number).st_mode):
                os.close(number)
                raise SourceError(f"{place} is no file")
        except FileNotFoundError as error:
            raise HttpStatusError(404, f"{place} isn't there") from error
        except OSError as error:
            raise SourceError(f"{place} can't be read: {error.strerror}") from error
        return io.FileIO(number, "rb")


class HttpFiles:
    """Files of a web server; used by several threads at once."""

    def __init__(
        self,
        url: str,
        options: HttpOptions,
        context: Context,
        cooldown: Cooldown,
        *,
        rests: Callable[[int, str], bool] = _rests,
    ) -> None:
        """Connect to nothing yet; `rests` says of a status and a URL whether that asks to leave the source alone."""
        self.base = url.rstrip("/") + "/"
        self._rests = rests
        self.own = Own(url, options, context.secret)
        self.options = options
        self.limit = Limit(options.limit)
        self.stop = context.stop
        self._context = context
        self._cooldown = cooldown
        self._connections = Connections(options, context)

    def open(self, path: str) -> io.RawIOBase:
        """Open a file; see `Files`."""
        return self.stream(urljoin(self.base, path))

    def stream(self, url: str, wish: Wish | None = None) -> DownloadStream:
        """Open what is at a URL, on whichever host."""
        return DownloadStream(self, url, wish)

    def reconnect(self) -> None:
        """Use no connection again that was open until now: another one may lead to another server of that name."""
        self._connections.renew()

    def check(self) -> None:
        """Go on unless the source is to be left alone; see `Cooldown.check`."""
        self._cooldown.check()

    def request(
        self, url: str, headers: Mapping[str, str], method: str = "GET", body: bytes | None = None
    ) -> tuple[urllib3.BaseHTTPResponse, str]:
        """Ask once, following redirects; give the answer and its URL.

        A status other than 200, 206, 304 and 416 is an error.

        Raises:
            SourceError: there is no way, the server doesn't want to be asked, or the way leads where it mustn't.
            HttpStatusError: the server answered otherwise.
            BrokenError: it is worth trying again.
        """
        self.check()
        headers = {**headers, "Accept-Encoding": "identity", "User-Agent": self.options.user_agent}
        for _turn in range(REDIRECTS + 1):
            parts = urlsplit(url)
            response = self._ask(method, self.own.url(url), self.own.headers(url, headers), url, body)
            if response.status not in {301, 302, 303, 307, 308}:
                return self._judged(response, url), url
            location = response.headers.get("Location", "")
            _discard(response)
            target = _target(url, location, self.own.masked)
            if urlsplit(target).scheme not in ({"https"} if parts.scheme == "https" else {"http", "https"}):
                raise SourceError(f"{shown(url)} leads to {self.own.masked(shown(target))}, which isn't followed")
            if origin(target) != origin(url):
                headers = {name: value for name, value in headers.items() if name.lower() in _FOR_ALL_HOSTS}
            url = self.own.without(target)
        raise SourceError(f"{shown(url)}: more than {REDIRECTS} redirects")

    def _ask(
        self, method: str, whole: str, headers: Mapping[str, str], url: str, body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        """Ask for a URL as a `whole`, with what may be a secret; `url` is it without that."""
        import urllib3

        timeout = urllib3.Timeout(connect=self.options.connect, read=self.options.read)
        told: dict[str, Any] = {"headers": headers, "body": body, "timeout": timeout}
        try:
            return self._connections.to(url).urlopen(
                method, whole, retries=False, redirect=False, preload_content=False, **told
            )
        except urllib3.exceptions.HTTPError as error:
            raise trouble_of(error, url, self._context.proxy) from error
        except UpdoserError:
            raise
        except Exception as error:  # whatever a server sends
            words = self.own.masked(words_of(error))
            raise SourceError(f"{shown(url)}: {type(error).__name__}: {words}") from error

    def _judged(self, response: urllib3.BaseHTTPResponse, url: str) -> urllib3.BaseHTTPResponse:
        """Give a response that has the file, or part of it; say what else it is."""
        status = response.status
        if status in {200, 206, 304, 416}:
            return response
        said = response.headers
        _discard(response)
        pause = said.get("Retry-After") or spent_until(said)
        wait = waiting_time(pause, self._context.clock())
        is_spent = status == FORBIDDEN and bool(spent_until(said))
        if status == TOO_MANY or is_spent or (status == UNAVAILABLE and wait is not None):
            if wait is not None and wait <= WAITS:
                raise BrokenError(f"it answered HTTP {status}", wait.total_seconds())
            self._cooldown.start(status, pause)
        if self._rests(status, url):
            self._cooldown.start(status, pause)
        message = f"{shown(url)}: HTTP {status}{_MEANINGS.get(status, '')}"
        if status == 407:
            proxy = self._context.proxy
            message = f"the proxy {proxy.name if proxy else ''} wants other credentials (HTTP 407)"
        if status in _RETRIED:
            raise BrokenError(message)
        raise HttpStatusError(status, message, said)


def _target(url: str, location: str, masked: Callable[[str], str]) -> str:
    """Give where a redirect leads.

    Raises:
        SourceError: to no address.
    """
    try:
        target = urljoin(url, location)
        if urlsplit(target).port != 0:  # a port that is none is a ValueError, too
            return target
    except ValueError:
        pass
    raise SourceError(f"{shown(url)} leads to what is no address: {printable(masked(location)[:80])!r}")


def _discard(response: urllib3.BaseHTTPResponse) -> None:
    """Be done with a response: its connection can be used again when there is little left on it."""
    left = response.length_remaining  # None where it isn't known, whatever `Content-Length` says
    if left is None or left >= 2**16:
        response.close()
        return
    try:
        response.drain_conn()
    except BaseException:
        response.close()
        raise


_MEANINGS = {401: ", it wants other credentials", 403: ", not allowed", 404: ", not there", 410: ", gone"}
