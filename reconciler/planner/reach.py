"""Whether and how the server gets to a client, from nothing but address families.

The first rule that fits:

1. A link-local address works on its own segment only: directly, and with the zone that names the segment.
2. Without a proxy or jump host on the way: `direct`, unless it is known that server and client share no family.
3. Over a proxy or jump host: server and it must share a family, and it and the client must. `via NAME` then.

What isn't known doesn't stand in the way: a host name that nobody here can look up may be known to the proxy, and if it
isn't, connecting tells. A proxy that bridges speaks both families; the spec says so with `families`.

Example: a server that speaks IPv6 only, a client with 192.0.2.7, a proxy at 2001:db8::1 with `families: [ipv4, ipv6]`
give `via bridge`; without the proxy, `pure IPv6 server, pure IPv4 client, no dual-stack proxy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.network import DIRECT, FAMILIES, IPV4, UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.model.network import Address, Family


@dataclass(frozen=True, slots=True)
class Relay:
    """A proxy or jump host: what it is called, the families of its own address, and those that it speaks outward.

    Empty families aren't known.
    """

    name: str
    entry: tuple[Family, ...] = ()
    outward: tuple[Family, ...] = ()


def route(
    server: Collection[Family],
    families: Collection[Family],
    *,
    address: Address | None = None,
    relay: Relay | None = None,
) -> str:
    """Give the way to a client that speaks `families`: DIRECT, `via NAME`, or UNREACHABLE with the reason.

    `address` is the client's, where that is a literal one. Empty families aren't known.
    """
    if address is not None and address.scope == "link":
        return _on_segment(server, address, relay)
    if relay is None:
        loopback = address is not None and address.scope == "loopback"
        if loopback or _share(server, families):
            return DIRECT
        return f"{UNREACHABLE}{_pure(server, 'server')}, {_pure(families, 'client')}, no dual-stack proxy"
    if not _share(server, relay.entry):
        return f"{UNREACHABLE}{_pure(server, 'server')}, and {relay.name} has only {_listed(relay.entry)} addresses"
    outward = relay.outward or relay.entry
    if not _share(outward, families):
        return (
            f"{UNREACHABLE}{_pure(server, 'server')}, {_pure(families, 'client')}, "
            f"and {relay.name} speaks only {_listed(outward)}"
        )
    return f"via {relay.name}"


def _on_segment(server: Collection[Family], address: Address, relay: Relay | None) -> str:
    if relay is not None:
        return f"{UNREACHABLE}a link-local address doesn't work across segments, not via {relay.name} either"
    if not address.zone and address.family != IPV4:
        return f"{UNREACHABLE}a link-local address needs its zone, such as fe80::1%eth0"
    return DIRECT if _share(server, (address.family,)) else f"{UNREACHABLE}the server doesn't speak its family"


def _share(one: Collection[Family], other: Collection[Family]) -> bool:
    return not one or not other or bool(set(one) & set(other))


def _pure(families: Collection[Family], who: str) -> str:
    return f"pure {_listed(families)} {who}" if len(set(families)) == 1 else f"{who} that speaks {_listed(families)}"


def _listed(families: Collection[Family]) -> str:
    spoken = {"ipv4": "IPv4", "ipv6": "IPv6"}
    return " and ".join(spoken[family] for family in FAMILIES if family in families) or "nothing"
