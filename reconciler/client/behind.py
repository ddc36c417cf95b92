"""Which relay a client is behind, from what the spec says of both: the same for who plans and for who carries out.

1. A client is behind the relay whose `serves` takes it; two of them are one too many, and none then.
2. A relay isn't behind itself: a host that is a client, too, gets its own updates from the server.
3. Who shares no address family with its relay, as far as that is known, can't fetch from it.

Whoever is kept from a relay so is `apart`, for a reason; what becomes of it, `then` of the relay says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.formats.select import parse
from reconciler.model.network import FAMILIES, parse_address
from reconciler.model.relay import speak_alike

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.model.client import Client
    from reconciler.model.network import Family
    from reconciler.model.relay import RelaySpec
    from reconciler.model.spec import GroupSpec


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client is: behind `relay` (None: behind none), or kept from it for the reason that `apart` says."""

    relay: RelaySpec | None = None
    apart: str = ""


NOWHERE = Place()


class Behind:
    """Finds the relays of clients."""

    def __init__(self, relays: Mapping[str, RelaySpec], groups: Mapping[str, GroupSpec]) -> None:
        """Take the relays and the groups of a spec."""
        self._relays = [(parse(relay.serves), relay) for relay in relays.values()]
        self._groups = groups

    def of(self, client: Client) -> Place:
        """Find the relay of a client; see the module's rules."""
        mine = [relay for serves, relay in self._relays if serves.matches(client.name, (client.group,), client.labels)]
        if not mine:
            return NOWHERE
        relay = mine[0]
        if len(mine) > 1:
            return Place(relay, f"it is served by {' and by '.join(one.name for one in mine)}")
        if relay.is_host(client.name, client.address):
            return Place(relay, "it is the relay itself")
        spoken = self._families(client)
        if not speak_alike(spoken, relay.spoken):
            return Place(relay, f"it speaks {_listed(spoken)}, and the relay {_listed(relay.spoken)}")
        return Place(relay)

    def _families(self, client: Client) -> tuple[Family, ...]:
        """Give what a client is known to speak; what a host name stands for isn't looked up."""
        group = self._groups.get(client.group)
        if client.families or (group is not None and group.families):
            return client.families or (group.families if group is not None else ())
        address = parse_address(client.address) if client.address[:1].isdigit() or ":" in client.address else None
        return (address.family,) if address is not None and address.scope != "loopback" else ()


def _listed(families: Collection[Family]) -> str:
    spoken = {"ipv4": "IPv4", "ipv6": "IPv6"}
    return " and ".join(spoken[family] for family in FAMILIES if family in families)
