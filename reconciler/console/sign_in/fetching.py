"""How a provider is asked: few bytes, within a time, over the way that the spec names, and nowhere else.

What it answers is JSON. No redirect is followed: a provider that moved is named anew.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from contextlib import contextmanager, suppress
from http import HTTPStatus
from threading import Timer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from reconciler.console.sign_in.access import SignInError
from reconciler.errors import UpdoserError, words_of
from reconciler.model.network import is_this_machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from reconciler.contracts import Dial
    from reconciler.model.network import Proxy

PATIENCE = 10.0
"""Seconds for one answer."""
LARGEST = 512 * 1024
"""Bytes of one."""
_JSON = "application/json"


class ProviderError(SignInError):
    """A provider can't be asked, or doesn't answer as one does."""


class Fetcher:
    """Asks a provider. Safe to use from several threads."""

    def __init__(self, dial: Dial, ca: Path | None, proxy: Proxy | None, patience: float = PATIENCE) -> None:
        """Connect by `dial`, through `proxy`; certificates are checked with those of `ca`, or the system's."""
        self._dial = dial
        self._ca = ca
        self._proxy = proxy
        self._patience = patience

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Give the document at an address.

        Raises:
            ProviderError: there is none.
        """
        return self._ask("GET", url, None, headers or {})

    def post(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """Send a form, and give the document that is answered.

        Raises:
            ProviderError: none is.
        """
        kind = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self._ask("POST", url, urlencode(fields).encode(), kind)

    def _ask(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> dict[str, Any]:
        host, port, target, secure = _parts(url)
        until = time.monotonic() + self._patience
        try:
            wire = self._dial(host, port, proxy=self._proxy, timeout=self._patience)
        except UpdoserError as error:
            raise ProviderError(f"the provider can't be asked: {error.message}", hint=error.hint) from error
        try:
            with _cut(wire, until):
                if secure:
                    wire = self._trust().wrap_socket(wire, server_hostname=host)
                connection = http.client.HTTPConnection(host, port)
                connection.sock = wire
                sent = {"Accept": _JSON, "User-Agent": "updoser", **headers, "Connection": "close"}
                connection.request(method, target, body, sent)
                with connection.getresponse() as answer:
                    data = answer.read(LARGEST + 1)
        except ssl.SSLCertVerificationError as error:
            raise ProviderError(f"{host}: its certificate isn't trusted: {error.verify_message}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = time.monotonic() >= until
            said = f"no answer within {self._patience:g} s" if late else words_of(error)
            raise ProviderError(f"the provider {host}: {said}") from error
        finally:
            wire.close()
        return _document(host, answer.status, data)

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca)
        except OSError as error:
            raise ProviderError(f"the certificates in {self._ca} can't be used: {error.strerror or error}") from error


def _document(host: str, status: int, data: bytes) -> dict[str, Any]:
    if len(data) > LARGEST:
        raise ProviderError(f"the provider {host} answers with more than {LARGEST // 1024} KiB")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if status == HTTPStatus.OK and isinstance(found, dict):
        return found
    why = found.get("error_description") or found.get("error") if isinstance(found, dict) else None
    said = f": {why[:200]}" if isinstance(why, str) else ""
    raise ProviderError(f"the provider {host} answers HTTP {status} and no document that it should{said}")


def _parts(url: str) -> tuple[str, int, str, bool]:
    """Give host, port, target and whether it is TLS; without TLS only this machine is asked."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or parts.scheme not in {"http", "https"} or "@" in parts.netloc or not url.isprintable() or " " in url:
        raise ProviderError("the provider names an address that is no URL")
    if parts.scheme == "http" and not is_this_machine(host):
        raise ProviderError(f"the provider names an address without TLS at {host}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return host, port or (443 if parts.scheme == "https" else 80), target, parts.scheme == "https"


@contextmanager
def _cut(wire: socket.socket, until: float) -> Iterator[None]:
    """Cut a connection at a time: whoever sends a byte now and then would keep it for ever."""
    twin = wire.dup()

    def shut() -> None:
        with suppress(OSError):
            twin.shutdown(socket.SHUT_RDWR)

    timer = Timer(max(until - time.monotonic(), 0.0), shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        twin.close()
