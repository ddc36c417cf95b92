"""Finds out which address families a host name and this machine have; a name takes no longer than it may."""

from __future__ import annotations

import socket
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from reconciler.errors import NetworkError, own_limit
from reconciler.model.network import ANY_FAMILY, FAMILIES, IPV4, IPV6, parse_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.model.network import AnyFamily, Family

AnswerT = TypeVar("AnswerT")
LOOKUP = 10.0
"""Seconds in which a name is found out, where nothing else says how long that may take."""
SOCKET_FAMILIES: Mapping[AnyFamily, int] = {ANY_FAMILY: socket.AF_UNSPEC, IPV4: socket.AF_INET, IPV6: socket.AF_INET6}


def in_time(host: str, timeout: float, ask: Callable[[], AnswerT]) -> AnswerT:
    """Ask about a name in a thread of its own: a resolver may take minutes, and can't be interrupted.

    Raises:
        NetworkError: it takes too long.
        LimitError: this machine has no thread for it.
    """
    if parse_address(host) is not None:
        return ask()
    answer: Future[AnswerT] = Future()

    def answer_it() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            answer.set_exception(error)

    try:
        Thread(target=answer_it, name="updoser_lookup", daemon=True).start()
    except (RuntimeError, MemoryError) as error:
        raise own_limit(error) or error from error
    try:
        return answer.result(timeout)
    except TimeoutError as error:
        said = f"the host {host} wasn't found out within {timeout:g} s: no resolver answers"
        raise NetworkError(said, reason="name") from error


def host_families(host: str) -> tuple[Family, ...]:
    """Give the families of a host's addresses; empty when it isn't known here, or nobody answers for it."""
    literal = parse_address(host)
    if literal is not None:
        return (literal.family,)
    try:
        found = in_time(host, LOOKUP, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError, NetworkError):
        return ()
    spoken = {entry[0] for entry in found}
    return tuple(family for family in FAMILIES if SOCKET_FAMILIES[family] in spoken)


def own_families() -> tuple[Family, ...]:
    """Find out which families this machine speaks beyond itself: those with a route to the outside; sends nothing."""
    probes: dict[Family, tuple[int, str]] = {
        IPV4: (socket.AF_INET, "192.0.2.1"),
        IPV6: (socket.AF_INET6, "2001:db8::1"),
    }
    return tuple(name for name, (family, address) in probes.items() if _has_route(family, address))


def _has_route(family: int, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError:
        return False
    return True
