"""Opens TCP connections: over the families that are allowed, the fastest address first, through a proxy where one is.

All that updoser connects to is connected here: sources, proxies, clients. A connection is a plain socket; what is
spoken on it is the caller's business.

* A host with addresses of both families is tried on both, a little apart, and the first that answers stays (RFC 8305).
* A proxy is reached in the same way; then the tunnel is asked for (`tunnel`).
* A name that no resolver answers for takes no longer than a host that doesn't answer.
* `family` restricts which addresses are used, of the host or, behind a proxy, of the proxy.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from typing import TYPE_CHECKING

from aiohappyeyeballs import start_connection

from reconciler.errors import NetworkError, NoAddressError, own_limit
from reconciler.model.network import ANY_FAMILY, IPV4, IPV6, parse_address
from reconciler.network.lookup import SOCKET_FAMILIES, in_time
from reconciler.network.tunnel import open_tunnel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiohappyeyeballs import AddrInfoType

    from reconciler.model.network import AnyFamily, Proxy
    from reconciler.model.secret import SecretRef
    from reconciler.reasons import Reason

_REASONS: Mapping[int, Reason] = {
    errno.ECONNREFUSED: "refused",
    **dict.fromkeys((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT), "silent"),
}
STAGGER = 0.25
"""Seconds after which the next address is tried beside the one that doesn't answer; RFC 8305 recommends 0.25."""


class Dialer:
    """Opens connections; the `Dial` protocol of reconciler/contracts.py. Safe to use from several threads."""

    def __init__(self, secret: Callable[[SecretRef], str]) -> None:
        """Take what resolves the secrets of proxies."""
        self._secret = secret

    def __call__(
        self, host: str, port: int, *, proxy: Proxy | None = None, family: AnyFamily = ANY_FAMILY, timeout: float = 10.0
    ) -> socket.socket:
        """Connect; see `contracts.Dial`."""
        if proxy is None or not proxy.is_for(host):
            return connect(host, port, family=family, timeout=timeout)
        deadline = time.monotonic() + timeout
        try:
            connection = connect(proxy.host, proxy.port, family=family, timeout=timeout)
        except NetworkError as error:
            said = f"the proxy {proxy.name} can't be reached: {error.message}"
            raise type(error)(said, hint=error.hint, reason="proxy") from error
        try:
            return open_tunnel(connection, proxy, host, port, secret=self._secret, deadline=deadline)
        except BaseException:
            connection.close()
            raise


def connect(host: str, port: int, *, family: AnyFamily = ANY_FAMILY, timeout: float) -> socket.socket:
    """Connect to a host directly; the socket has a time-out of `timeout` seconds.

    Raises:
        NoAddressError: it has no address of the family.
        NetworkError: it has none that answers in time.
        LimitError: this machine has no descriptor for it.
    """
    deadline = time.monotonic() + timeout
    found = in_time(host, timeout, lambda: _addresses(host, port, family))
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        connection = _race(found, max(deadline - time.monotonic(), 0.001))
    except TimeoutError as error:
        raise NetworkError(f"{name} didn't answer within {timeout:g} s", reason="silent") from error
    except (OSError, RuntimeError) as error:
        if own := own_limit(error):
            raise own from error
        words = getattr(error, "strerror", None) or error
        reason = _REASONS.get(getattr(error, "errno", None) or 0)
        raise NetworkError(f"{name} can't be reached: {words}", reason=reason) from error
    connection.settimeout(timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _addresses(host: str, port: int, family: AnyFamily) -> Sequence[AddrInfoType]:
    try:
        return socket.getaddrinfo(host.strip("[]"), port, SOCKET_FAMILIES[family], socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        _try_room(error)
        literal = parse_address(host)
        if family != ANY_FAMILY and ((literal is not None and literal.family != family) or _has_addresses(host, port)):
            raise NoAddressError(
                f"{host} has no {_SPOKEN[family]} address", hint=f"only {_SPOKEN[family]} is allowed on this way"
            ) from error
        words = getattr(error, "strerror", None) or error
        raise NetworkError(f"the host {host} isn't known: {words}", reason="name") from error


def _try_room(error: Exception) -> None:
    """Tell a name that isn't known from one that couldn't be asked for: the resolver hides a lack of descriptors.

    Raises:
        LimitError: no socket can be had.
    """
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as probe:
        if own := own_limit(error) or own_limit(probe):
            raise own from error


_SPOKEN: dict[str, str] = {IPV4: "IPv4", IPV6: "IPv6"}


def _has_addresses(host: str, port: int) -> bool:
    try:
        return bool(socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        return False


def _race(found: Sequence[AddrInfoType], timeout: float) -> socket.socket:
    """Connect to whichever address answers first; the families take turns."""
    if len(found) == 1:
        family, kind, number, _name, address = found[0]
        connection = socket.socket(family, kind, number)
        try:
            connection.settimeout(timeout)
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection

    async def race() -> socket.socket:
        async with asyncio.timeout(timeout):
            return await start_connection(found, happy_eyeballs_delay=STAGGER, interleave=1)

    return asyncio.run(race())
