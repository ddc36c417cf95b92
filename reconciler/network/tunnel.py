"""Asks a proxy for a tunnel: HTTP CONNECT (also over TLS), SOCKS 5 and SOCKS 4.

The answer to CONNECT is read byte by byte: a host that speaks first (SSH does) may have sent its greeting right behind
it, and a buffer would swallow that; http.client and PySocks do. An answer has until the deadline as a whole: a time-out
would begin anew with each byte.
"""

from __future__ import annotations

import base64
import re
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import socks

from reconciler.errors import NetworkError, own_limit
from reconciler.model.network import parse_address

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.network import Proxy
    from reconciler.model.secret import SecretRef

MAX_ANSWER = 64 * 1024
_STATUS = re.compile("[0-9]{3}")
_REFUSALS = {
    403: "it doesn't allow that destination",
    407: "it wants other credentials",
    502: "it can't reach the destination",
    503: "it can't reach the destination",
    504: "the destination didn't answer it",
}


def open_tunnel(
    connection: socket.socket,
    proxy: Proxy,
    host: str,
    port: int,
    *,
    secret: Callable[[SecretRef], str],
    deadline: float,
) -> socket.socket:
    """Turn a connection to a proxy into one to a host; `deadline` is of the monotonic clock.

    Raises:
        NetworkError: the proxy refuses, or doesn't speak as its scheme says.
        SecretError: its credentials can't be resolved.
    """
    name, password = credentials(proxy, secret)
    connection.settimeout(max(deadline - time.monotonic(), 0.001))
    refused = f"the proxy {proxy.name} gives no way to {host}:{port}"
    try:
        if proxy.scheme in {"http", "https"}:
            if proxy.scheme == "https":
                connection = tls_context(proxy.ca).wrap_socket(connection, server_hostname=proxy.host)
            _connect(connection, host, port, name, password, deadline)
            return connection
        return _socks(connection, proxy, host, port, name, password, deadline)
    except TimeoutError as error:
        raise NetworkError(f"{refused}: it didn't answer in time", reason="proxy") from error
    except ssl.SSLError as error:
        raise NetworkError(f"the proxy {proxy.name} isn't trusted: {error.reason or error}", reason="proxy") from error
    except (OSError, ValueError) as error:
        if own := own_limit(error):
            raise own from error
        raise NetworkError(f"{refused}: {_words(error)}", reason="proxy") from error


def credentials(proxy: Proxy, secret: Callable[[SecretRef], str]) -> tuple[str, str]:
    """Resolve the user and password of a proxy.

    Raises:
        SecretError: one can't be resolved.
    """
    name = proxy.username if isinstance(proxy.username, str) else secret(proxy.username)
    return name, secret(proxy.password) if proxy.password is not None else ""


def tls_context(ca: str = "") -> ssl.SSLContext:
    """Give what a TLS server is checked with: the system's trust, or the certificates of a file alone.

    Raises:
        NetworkError: the file can't be read, or has no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        if own := own_limit(error):
            raise own from error
        raise NetworkError(f"the certificates in {ca} can't be used: {error.strerror or error}") from error


def _connect(connection: socket.socket, host: str, port: int, name: str, password: str, deadline: float) -> None:
    """Ask for a tunnel (RFC 9110, 9.3.6).

    Raises:
        ValueError: the proxy refused, or its answer isn't HTTP.
        TimeoutError: its answer isn't complete at the deadline.
    """
    before = connection.gettimeout()
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if name:
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}")
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    answer = bytearray()
    while not answer.endswith(b"\r\n\r\n"):
        _wait_until(deadline, connection)
        byte = connection.recv(1)
        if not byte or len(answer) > MAX_ANSWER:
            raise ValueError("it hung up" if not byte else "its answer has no end")
        answer += byte
    connection.settimeout(before)
    words = answer.split(b"\r\n", 1)[0].decode("latin-1").split(None, 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not _STATUS.fullmatch(words[1]):
        raise ValueError("it doesn't speak HTTP")
    status = int(words[1])
    if not 200 <= status < 300:
        raise ValueError(f"{_REFUSALS.get(status, 'it refused')} (HTTP {status})")


def _wait_until(deadline: float, connection: socket.socket) -> None:
    """Have the next read wait until then at most.

    Raises:
        TimeoutError: it is past.
    """
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)


_SOCKS = {"socks5": socks.SOCKS5, "socks5h": socks.SOCKS5, "socks4": socks.SOCKS4}


class _Negotiation(socks.socksocket):  # type: ignore[misc] # it has no types
    """PySocks on a connection that is there already: its negotiation, without its way to connect."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        super().__init__(connection.family, connection.type, connection.proto, connection.detach())
        self._deadline = deadline

    def recv_into(self, *args: Any, **options: Any) -> int:
        """Read until the deadline; all that the proxy says is read so."""
        _wait_until(self._deadline, self)
        return int(super().recv_into(*args, **options))


def _socks(
    connection: socket.socket, proxy: Proxy, host: str, port: int, name: str, password: str, deadline: float
) -> socket.socket:
    timeout = connection.gettimeout()
    negotiation = _Negotiation(connection, deadline)
    negotiation.settimeout(timeout)
    negotiation.set_proxy(_SOCKS[proxy.scheme], proxy.host, proxy.port, proxy.resolves, name or None, password or None)
    literal = parse_address(host)
    if proxy.scheme == "socks4" and literal is not None and literal.family != "ipv4":
        negotiation.close()
        raise ValueError("SOCKS 4 knows IPv4 addresses only")
    try:
        negotiate = type(negotiation)._proxy_negotiators[_SOCKS[proxy.scheme]]  # noqa: SLF001 - see the class
        negotiate(negotiation, host.strip("[]"), port)
        return socket.socket(negotiation.family, negotiation.type, negotiation.proto, negotiation.detach())
    except BaseException:
        negotiation.close()
        raise


def _words(error: Exception) -> str:
    cause = getattr(error, "socket_err", None) or error
    if isinstance(cause, socks.SOCKS5AuthError):
        return "it wants other credentials"
    text = getattr(error, "msg", "") or getattr(cause, "strerror", None) or str(cause)
    return str(text).partition(": ")[2] or str(text) if str(text)[:2].isdigit() else str(text)
