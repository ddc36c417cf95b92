"""Files from a web server or a folder, by their path below one URL.

* A file comes as a stream that survives cuts (`stream`). A server that is busy is waited for if it says a short time,
  and left alone for the time that it says, or a usual one, if not (`cooldown`).
* Redirects are followed, never from https to http, and credentials don't go along to another host.
* Nothing is decoded on the way: what is stored has the length that was signed.
"""

from __future__ import annotations

import io
import os
import stat
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urljoin, urlsplit

from reconciler.errors import SourceError, UpdoserError, printable

from .connections import Connections, HttpOptions, trouble_of
from .cooldown import FORBIDDEN, TOO_MANY, UNAVAILABLE, Cooldown, waiting_time
from .pace import Limit
from .stream import BrokenError, DownloadStream, HttpStatusError, shown, words_of

if TYPE_CHECKING:
    import urllib3

    from reconciler.contracts import Context

WAITS = timedelta(seconds=10)
"""A source that asks for a longer pause is left alone until then."""
REDIRECTS = 5
AT_ONCE = 32
_RETRIED = frozenset({408, 425, 500, 502, 503, 504})


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
            stream = io.FileIO(number, "rb")
            if not stat.S_ISREG(os.fstat(number).st_mode):
                stream.close()
                raise SourceError(f"{place} is no file")
        except FileNotFoundError as error:
            raise HttpStatusError(404, f"{place} isn't there") from error
        except OSError as error:
            raise SourceError(f"{place} can't be read: {error.strerror}") from error
        return stream


class HttpFiles:
    """Files of a web server; used by several threads at once."""

    def __init__(self, url: str, options: HttpOptions, context: Context, cooldown: Cooldown) -> None:
        """Connect to nothing yet."""
        self.base = url.rstrip("/") + "/"
        self.options = options
        self.limit = Limit(options.limit)
        self._context = context
        self._cooldown = cooldown
        self._connections = Connections(options, context)

    def open(self, path: str) -> io.RawIOBase:
        """Open a file; see `Files`."""
        return DownloadStream(self, urljoin(self.base, path))

    def reconnect(self) -> None:
        """Use no connection again that was open until now: another one may lead to another server of that name."""
        self._connections.renew()

    def check(self) -> None:
        """Go on unless the source is to be left alone; see `Cooldown.check`."""
        self._cooldown.check()

    def request(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        """Ask once, following redirects; a status other than 200, 206 and 416 is an error.

        Raises:
            SourceError: there is no way, the server doesn't want to be asked, or the way leads where it mustn't.
            HttpStatusError: the server answered otherwise.
            BrokenError: it is worth trying again.
        """
        self.check()
        start = urlsplit(self.base)
        for _turn in range(REDIRECTS + 1):
            parts = urlsplit(url)
            if (parts.scheme, parts.hostname, parts.port) == (start.scheme, start.hostname, start.port):
                headers = {**headers, **self._credentials()}
            else:
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            response = self._ask(url, headers)
            if response.status not in {301, 302, 303, 307, 308}:
                return self._judged(response, url)
            location = response.headers.get("Location", "")
            _discard(response)
            target = _target(url, location)
            if urlsplit(target).scheme not in ({"https"} if parts.scheme == "https" else {"http", "https"}):
                raise SourceError(f"{shown(url)} leads to {shown(target)}, which isn't followed")
            url = target
        raise SourceError(f"{shown(url)}: more than {REDIRECTS} redirects")

    def _ask(self, url: str, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        import urllib3

        timeout = urllib3.Timeout(connect=self.options.connect, read=self.options.read)
        try:
            return self._connections.to(url).urlopen(
                "GET", url, headers=headers, retries=False, redirect=False, preload_content=False, timeout=timeout
            )
        except urllib3.exceptions.HTTPError as error:
            raise trouble_of(error, url, self._context.proxy) from error
        except UpdoserError:
            raise
        except Exception as error:  # whatever a server sends
            raise SourceError(f"{shown(url)}: {type(error).__name__}: {words_of(error)}") from error

    def _judged(self, response: urllib3.BaseHTTPResponse, url: str) -> urllib3.BaseHTTPResponse:
        """Give a response that has the file, or part of it; say what else it is."""
        status = response.status
        if status in {200, 206, 416}:
            return response
        _discard(response)
        wait = waiting_time(response.headers.get("Retry-After"), self._context.clock())
        if status == TOO_MANY or (status == UNAVAILABLE and wait is not None):
            if wait is not None and wait <= WAITS:
                raise BrokenError(f"it answered HTTP {status}", wait.total_seconds())
            self._cooldown.start(status, response.headers.get("Retry-After"))
        if status == FORBIDDEN and url.endswith("/timestamp.json"):
            self._cooldown.start(status, response.headers.get("Retry-After"))
        message = f"{shown(url)}: HTTP {status}{_MEANINGS.get(status, '')}"
        if status == 407:
            proxy = self._context.proxy
            message = f"the proxy {proxy.name if proxy else ''} wants other credentials (HTTP 407)"
        if status in _RETRIED:
            raise BrokenError(message)
        raise HttpStatusError(status, message)

    def _credentials(self) -> dict[str, str]:
        import urllib3

        options, secret = self.options, self._context.secret
        if not options.username:
            return {}
        name = options.username if isinstance(options.username, str) else secret(options.username)
        password = secret(options.password) if options.password is not None else ""
        return {"Authorization": urllib3.make_headers(basic_auth=f"{name}:{password}")["authorization"]}


def _target(url: str, location: str) -> str:
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
    raise SourceError(f"{shown(url)} leads to what is no address: {printable(location[:80])!r}")


def _discard(response: urllib3.BaseHTTPResponse) -> None:
    """Be done with a response: its connection can be used again when there is little left on it."""
    left = response.length_remaining  # None where it isn't known, whatever `Content-Length` says
    if left is not None and left < 2**16:
        response.drain_conn()
    else:
        response.close()


_MEANINGS = {401: ", it wants other credentials", 403: ", not allowed", 404: ", not there", 410: ", gone"}
