"""Where a request comes from, as far as that can be known: proxies that are listed are believed, and nobody else."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network

    from starlette.types import Scope

_FORWARDED = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-real-ip")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: their address, and whether what is said stays between the two (`secure`).

    `peer` is who connected here: the caller, or a proxy. `forwarded`: somebody says that it came through a proxy.
    """

    address: str
    peer: str
    secure: bool = False
    forwarded: bool = False

    @property
    def here(self) -> bool:
        """True when it comes from this machine, and through nothing that says otherwise."""
        return is_in(self.peer, ()) and not self.forwarded


def header(scope: Scope, name: str) -> str:
    """Give a header; empty where there is none, or several that differ: then nobody says what holds."""
    found = {value.decode("latin-1") for key, value in scope["headers"] if key == name.encode()}
    return found.pop().strip() if len(found) == 1 else ""


def caller_of(scope: Scope, proxies: Sequence[IPv4Network | IPv6Network]) -> Caller:
    """Say where a request comes from. `proxies` are believed what they say of it."""
    peer = _plain((scope.get("client") or ("", 0))[0])
    named = {name.decode("latin-1") for name, _value in scope["headers"]}
    forwarded = not named.isdisjoint(_FORWARDED)
    secure, address = scope["scheme"] == "https", peer
    if proxies and is_in(peer, proxies, here=False):
        secure = secure or (forwarded and header(scope, "x-forwarded-proto").lower() in {"", "https"})
        listed = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        address = _outside(",".join(listed).split(","), proxies) or peer
    return Caller(address, peer, secure, forwarded)


def _outside(chain: Sequence[str], proxies: Sequence[IPv4Network | IPv6Network]) -> str:
    """Give the last address of a chain that is no proxy of ours: what stands before it anybody may have written."""
    for text in reversed(chain):
        address = _address(text.strip())
        if address is None:
            return ""
        if not any(address in network for network in proxies):
            return str(address)
    return ""


def is_in(text: str, networks: Sequence[IPv4Network | IPv6Network], *, here: bool = True) -> bool:
    """Say whether an address is in some networks, or (with `here`) this machine's loopback."""
    address = _address(text)
    if address is None:
        return False
    return (here and address.is_loopback) or any(address in network for network in networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found


def _plain(text: str) -> str:
    found = _address(text)
    return text if found is None else str(found)
