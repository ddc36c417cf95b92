"""Files from a web server or a folder, by their path below one URL.

* A file comes as a stream that survives cuts (`_stream`). A server that is busy is waited for if it says a short time,
  and left alone for the time that it says, or a usual one, if not (`_cooldown`).
* Redirects are followed, never from https to http, and credentials don't go along to another host.
* Nothing is decoded on the way: what is stored has the length that was signed.
"""

from __future__ import annotations

import io
import logging
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urljoin, urlsplit

from reconciler.errors import NetworkError, SecretError, SourceError, UpdoserError, printable

from ._cooldown import FORBIDDEN, TOO_MANY, UNAVAILABLE, Cooldown, waiting_time
from ._pace import Limit
from ._stream import BrokenError, DownloadStream, HttpStatusError, causes, shown, words_of
from ._timed import Timed

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    import urllib3

    from reconciler.contracts import Context
    from reconciler.model.secret import SecretRef

WAITS = timedelta(seconds=10)
"""A source that asks for a longer pause is left alone until then."""
REDIRECTS = 5
AT_ONCE = 32
_RETRIED = frozenset({408, 425, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How a server is spoken with. Times are seconds; `total` is for one file. Paths start from the spec's folder."""

    family: str
    connect: float
    read: float
    total: float
    limit: float = 0.0
    ca: str = ""
    certificate: str = ""
    key: SecretRef | None = None
    username: SecretRef | str = ""
    password: SecretRef | None = None


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
        self._lock = Lock()
        self._managers: dict[bool, urllib3.PoolManager] = {}

    def open(self, path: str) -> io.RawIOBase:
        """Open a file; see `Files`."""
        return DownloadStream(self, urljoin(self.base, path))

    def reconnect(self) -> None:
        """Use no connection again that was open until now: another one may lead to another server of that name."""
        with self._lock:
            for manager in self._managers.values():
                manager.clear()

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
            return self._manager(url).urlopen(
                "GET", url, headers=headers, retries=False, redirect=False, preload_content=False, timeout=timeout
            )
        except urllib3.exceptions.HTTPError as error:
            raise _broken(error, url, self._context) from error
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

    def _manager(self, url: str) -> urllib3.PoolManager:
        """Give the connections for a URL: those through the proxy, or the direct ones where that isn't for it."""
        proxy = self._context.proxy
        proxied = proxy is not None and proxy.is_for(urlsplit(url).hostname or "")
        with self._lock:
            if proxied not in self._managers:
                self._managers[proxied] = self._make_manager(proxied=proxied)
            return self._managers[proxied]

    def _make_manager(self, *, proxied: bool) -> urllib3.PoolManager:
        import urllib3

        logging.getLogger("urllib3").setLevel(logging.CRITICAL)  # it warns of odd heads with a traceback, on stderr
        options, proxy = self.options, self._context.proxy
        common: dict[str, Any] = {"num_pools": 8, "maxsize": AT_ONCE, "ssl_context": self._tls()}
        tunnelled = proxied and proxy is not None and proxy.scheme.startswith("socks")
        dial = self._context.dial

        def connect(host: str, port: int, timeout: float) -> Any:
            return dial(host, port, proxy=proxy if tunnelled else None, family=options.family, timeout=timeout)

        if proxied and proxy is not None and not tunnelled:
            secret = self._context.secret
            name = proxy.username if isinstance(proxy.username, str) else secret(proxy.username)
            password = secret(proxy.password) if proxy.password is not None else ""
            host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
            manager: urllib3.PoolManager = urllib3.ProxyManager(
                f"{proxy.scheme}://{host}:{proxy.port}",
                proxy_headers=urllib3.make_headers(proxy_basic_auth=f"{name}:{password}") if name else None,
                proxy_ssl_context=self._trust(proxy.ca) if proxy.scheme == "https" else None,
                **common,
            )
        else:
            manager = urllib3.PoolManager(**common)
        manager.pool_classes_by_scheme = _pools(connect)
        return manager

    def _trust(self, ca: str) -> ssl.SSLContext:
        import ssl

        file = str(self._context.path(ca, SourceError)) if ca else None
        try:
            return ssl.create_default_context(cafile=file)
        except (OSError, ssl.SSLError) as error:
            raise SourceError(f"the certificates in {ca} can't be used: {error.strerror or error}") from error

    def _tls(self) -> ssl.SSLContext:
        """Give what the server is checked with, and what we show it."""
        import ssl

        options = self.options
        trust = self._trust(options.ca)
        if options.certificate:
            certificate = self._context.path(options.certificate, SourceError)
            try:
                with _as_file(self._context.secret(options.key) if options.key else "") as key:
                    trust.load_cert_chain(certificate, key)
            except (OSError, ssl.SSLError) as error:
                raise SourceError(
                    f"the client certificate {options.certificate} can't be used: {error.strerror or error}",
                    hint="`certificate` and `key` are PEM files that belong together",
                ) from error
        return trust


@contextmanager
def _as_file(text: str) -> Iterator[str | None]:
    """Give a secret a name that OpenSSL can open, without a file on any disk."""
    if not text:
        yield None
        return
    number = os.memfd_create("key")
    try:
        os.write(number, text.encode() + b"\n")
        yield f"/proc/self/fd/{number}"
    finally:
        os.close(number)


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


def _pools(connect: Callable[[str, int, float], Any]) -> dict[str, Any]:
    """Give urllib3's pools with connections that are opened by `connect`."""
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.exceptions import NewConnectionError

    class Dialled:
        host: str
        port: int
        timeout: Any
        response_class: Any = Timed

        def _new_conn(self) -> Any:
            try:
                return connect(self.host, self.port, self.timeout or 10.0)
            except (NetworkError, SecretError) as error:
                raise NewConnectionError(self, error.message) from error  # type: ignore[arg-type]

    class Plain(Dialled, HTTPConnection):
        pass

    class Secure(Dialled, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


_MEANINGS = {401: ", it wants other credentials", 403: ", not allowed", 404: ", not there", 410: ", gone"}


def _broken(error: Exception, url: str, context: Context) -> Exception:
    """Say of a failed request whether it is worth trying again."""
    import urllib3

    words = words_of(error)
    for cause in causes(error):
        if isinstance(cause, UpdoserError):
            final = isinstance(cause, SecretError) or " has no " in cause.message
            return SourceError(cause.message, hint=cause.hint) if final else BrokenError(cause.message)
    if isinstance(error, urllib3.exceptions.ProxyError) and "407" in words:
        name = context.proxy.name if context.proxy else ""
        return SourceError(f"the proxy {name} wants other credentials (HTTP 407)")
    if isinstance(error, urllib3.exceptions.ProxyError) and "403" in words:
        name = context.proxy.name if context.proxy else ""
        return SourceError(f"the proxy {name} doesn't allow {urlsplit(url).hostname} (HTTP 403)")
    if "certificate" in words.lower():
        return SourceError(f"{shown(url)}: its certificate isn't trusted: {words}")
    return BrokenError(f"{shown(url)}: {words}")
