"""Connections to web servers: opened by the context, through a proxy where one is, over TLS that is checked.

What a request that failed says of the way is told here, too: by the classes and codes of errors, not by their words.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from reconciler.errors import NetworkError, NoAddressError, SecretError, SourceError, UpdoserError
from reconciler.web.stream import BrokenError, causes, shown, words_of
from reconciler.web.timed import Timed

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping

    import urllib3

    from reconciler.contracts import Context
    from reconciler.model.network import AnyFamily, Proxy
    from reconciler.model.secret import SecretRef

AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How a server is spoken with. Times are seconds; `total` is for one file. Paths start from the spec's folder.

    `headers` and `query` go along with each request to the source's own host, and to no other.
    """

    family: AnyFamily
    connect: float
    read: float
    total: float
    limit: float = 0.0
    ca: str = ""
    certificate: str = ""
    key: SecretRef | None = None
    username: SecretRef | str = ""
    password: SecretRef | None = None
    bearer: SecretRef | None = None
    headers: Mapping[str, SecretRef | str] = field(default_factory=dict)
    query: Mapping[str, SecretRef | str] = field(default_factory=dict)
    user_agent: str = "updoser"


class TunnelRefusedError(OSError):
    """A proxy gives no way to a host; `status` is what it answered. urllib3 takes it for one of its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Connections:
    """The connections to one server, kept while they serve; used by several threads at once."""

    def __init__(self, options: HttpOptions, context: Context) -> None:
        """Connect to nothing yet."""
        self.options = options
        self._context = context
        self._lock = Lock()
        self._managers: dict[bool, urllib3.PoolManager] = {}

    def renew(self) -> None:
        """Use none again that was open until now."""
        with self._lock:
            for manager in self._managers.values():
                manager.clear()

    def to(self, url: str) -> urllib3.PoolManager:
        """Give those for a URL: those through the proxy, or the direct ones where that isn't for it."""
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


class _Dialled:
    """What connections are beside urllib3's: opened by `dial`, and with answers that come in time and are closed."""

    dial: Any
    host: str
    port: int
    timeout: Any
    answer: Timed | None = None

    def _answer(self, *args: Any, **options: Any) -> Timed:
        self.answer = Timed(*args, **options)
        return self.answer

    response_class: Any = _answer

    def _said(self) -> int | None:
        return self.answer.status_read if self.answer is not None else None

    def _new_conn(self) -> Any:
        from urllib3.exceptions import NewConnectionError

        try:
            return self.dial(self.host, self.port, self.timeout or 10.0)
        except (NetworkError, SecretError) as error:
            raise NewConnectionError(self, error.message) from error  # type: ignore[arg-type]

    def getresponse(self) -> Any:
        self.answer = None
        try:
            return super().getresponse()  # type: ignore[misc] # of the class beside this one
        except BaseException:
            # An answer after which the server closes has taken the socket with it: nobody else would close that.
            if self.answer is not None:
                self.answer.close()
            raise

    def _tunnel(self) -> None:
        self.answer = None
        try:
            super()._tunnel()  # type: ignore[misc] # of the class beside this one
        except OSError as error:
            status = self._said()
            if status is None or status == HTTPStatus.OK:
                raise
            raise TunnelRefusedError(status, str(error)) from error


def _pools(connect: Callable[[str, int, float], Any]) -> dict[str, Any]:
    """Give urllib3's pools with connections that are opened by `connect`."""
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Plain(_Dialled, HTTPConnection):
        dial = staticmethod(connect)

    class Secure(_Dialled, HTTPSConnection):
        dial = staticmethod(connect)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def trouble_of(error: Exception, url: str, proxy: Proxy | None) -> Exception:
    """Say of a request that failed whether it is worth trying again, and why it failed."""
    words, name = words_of(error), proxy.name if proxy else ""
    for cause in causes(error):
        if isinstance(cause, UpdoserError):
            final = isinstance(cause, (SecretError, NoAddressError))
            return SourceError(cause.message, hint=cause.hint) if final else BrokenError(cause.message)
        if isinstance(cause, TunnelRefusedError) and cause.status == 407:
            return SourceError(f"the proxy {name} wants other credentials (HTTP 407)")
        if isinstance(cause, TunnelRefusedError) and cause.status == 403:
            return SourceError(f"the proxy {name} doesn't allow {urlsplit(url).hostname} (HTTP 403)")
        if any(_is_about_trust(part) for part in (cause, *cause.args)):
            return SourceError(f"{shown(url)}: its certificate isn't trusted: {words}")
    return BrokenError(f"{shown(url)}: {words}")


def _is_about_trust(error: object) -> bool:
    """Say whether OpenSSL names a certificate, ours or theirs, as the reason; urllib3 has its error as an argument."""
    import ssl

    return isinstance(error, ssl.SSLError) and "CERTIFICATE" in (error.reason or "")
