"""Addresses and proxies: what is known of a way through a network before anybody goes it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from reconciler.model.secret import SecretRef

Family = Literal["ipv4", "ipv6"]
AnyFamily = Literal[Family, "any"]
"""What a connection may be restricted to."""
IPV4: Final = "ipv4"
IPV6: Final = "ipv6"
ANY_FAMILY: Final = "any"
FAMILIES: tuple[Family, ...] = (IPV4, IPV6)
AddressScope = Literal["global", "loopback", "link"]
PROXY_PORTS = {"http": 3128, "https": 3129, "socks5": 1080, "socks5h": 1080, "socks4": 1080}
"""The schemes of proxies, and the port of each where a URL names none."""
DIRECT = "direct"
UNREACHABLE = "unreachable: "
"""What a route begins with that isn't one; the reason follows."""
FROM_ENVIRONMENT = "environment"
"""What `proxy:` says to use the proxies of the process's environment."""


def why_unreachable(route: str) -> str:
    """Give the reason that stands in place of a route; empty where it is one."""
    return route.removeprefix(UNREACHABLE) if route.startswith(UNREACHABLE) else ""


@dataclass(frozen=True, slots=True)
class Address:
    """A literal address: its family, and how far it reaches: `global`, `loopback`, or `link` (only on one segment).

    `zone` names the interface of a link-local address, if it says.
    """

    family: Family
    scope: AddressScope = "global"
    zone: str = ""


def parse_address(text: str) -> Address | None:
    """Read a literal address; None for a host name. IPv4 addresses that are mapped into IPv6 are IPv4 (RFC 4291)."""
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    zone = getattr(address, "scope_id", None) or ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    scope: AddressScope = "loopback" if address.is_loopback else "link" if address.is_link_local else "global"
    return Address(IPV4 if address.version == 4 else IPV6, scope, zone)


def is_this_machine(host: str) -> bool:
    """Say whether a host is this machine, by its name or its address alone."""
    address = parse_address(host)
    return host.lower() == "localhost" or (address is not None and address.scope == "loopback")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy by name. `families` are those that it speaks outward (empty: those of its own address).

    `no_proxy` lists what it isn't for: host names, `.suffixes`, `*` for everything, addresses, and networks with a
    prefix length. `ca` is a file of certificates that an `https` proxy is checked with.
    """

    name: str
    scheme: str
    host: str
    port: int
    username: SecretRef | str = ""
    password: SecretRef | None = None
    families: tuple[Family, ...] = ()
    no_proxy: tuple[str, ...] = ()
    ca: str = ""

    @property
    def resolves(self) -> bool:
        """True when the proxy looks host names up itself."""
        return self.scheme in {"http", "https", "socks5h"}

    def is_for(self, host: str) -> bool:
        """Say whether a host is reached through it."""
        return not any(_matches(entry.strip().lower(), host.strip("[]").lower()) for entry in self.no_proxy)


def _matches(entry: str, host: str) -> bool:
    if entry in {"*", host}:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        suffix = entry.removeprefix("*").removeprefix(".")
        return bool(suffix) and host.endswith(f".{suffix}")
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except (ValueError, TypeError):
        return False


def no_proxy_problem(entry: str) -> str:
    """Say why an entry of `no_proxy` can never match; empty when it may."""
    if "/" in entry:
        try:
            ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return f"`{entry}` is no network such as 10.0.0.0/8"
    if not entry.strip() or "://" in entry or (":" in entry and parse_address(entry) is None and "/" not in entry):
        return f"`{entry}` is no host, .suffix, address or network"
    return ""
