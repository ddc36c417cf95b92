"""The ways to all clients: looks up what host names stand for where that decides, and lets `planner.reach` judge.

Names are looked up only where it matters: when the server speaks one family, or a proxy or jump host is on the way. The
families of one address are found out once.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from reconciler.model.network import DIRECT, FAMILIES, parse_address
from reconciler.network.lookup import host_families, own_families
from reconciler.planner.reach import Relay, route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconciler.model.client import Client
    from reconciler.model.network import Address, Family
    from reconciler.model.spec import GroupSpec, ServerSpec

LOOKUPS = 64
"""How many names are looked up at a time."""
PATIENCE = 30.0


def find_ways(
    fleet: Mapping[str, Iterable[Client]],
    groups: Mapping[str, GroupSpec],
    server: ServerSpec,
    *,
    look_up: Callable[[str], tuple[Family, ...]] = host_families,
    own: Callable[[], tuple[Family, ...]] = own_families,
) -> dict[str, str]:
    """Give the way to each client by its name (`planner.reach.route`); those that are `direct` are left out."""
    spoken = server.families or own()
    ways: dict[str, str] = {}
    for name, clients in fleet.items():
        group = groups[name]
        if not group.local:
            ways.update(_Group(group, spoken, look_up).ways(clients))
    return ways


class _Group:
    """Judges the clients of a group; equal addresses once."""

    def __init__(
        self, group: GroupSpec, server: tuple[Family, ...], look_up: Callable[[str], tuple[Family, ...]]
    ) -> None:
        self._group = group
        self._server = server
        self._look_up = look_up
        self._relay = self._find_relay()
        self._decides = self._relay is not None or len(set(server)) < len(FAMILIES)
        self._known: dict[tuple[str, tuple[Family, ...]], str] = {}

    def ways(self, clients: Iterable[Client]) -> dict[str, str]:
        clients = list(clients)
        families = self._families(clients)
        found = {}
        for client in clients:
            key = client.address, client.families
            way = self._known.get(key)
            if way is None:
                way = self._known[key] = self._way(client, families)
            if way != DIRECT:
                found[client.name] = way
        return found

    def _way(self, client: Client, families: Mapping[str, tuple[Family, ...]]) -> str:
        address = _literal(client.address)
        spoken = client.families or ((address.family,) if address else families.get(client.address, ()))
        return route(self._server, spoken, address=address, relay=self._relay_to(client.address))

    def _families(self, clients: Iterable[Client]) -> dict[str, tuple[Family, ...]]:
        """Look up the host names whose families decide and aren't declared."""
        if not self._decides:
            return {}
        if self._group.families:
            return dict.fromkeys((client.address for client in clients), self._group.families)
        names = {client.address for client in clients if not client.families and _literal(client.address) is None}
        if not names:
            return {}
        return _look_up_all(names, self._look_up)

    def _find_relay(self) -> Relay | None:
        """Give what the way leads over first; families of a jump host's other side aren't known."""
        proxy, jump = self._group.proxy, self._group.jump
        if proxy is not None and not (jump and not proxy.is_for(jump)):
            outward = proxy.families if not jump else ()
            return Relay(proxy.name, self._look_up(proxy.host), outward or (FAMILIES if jump else ()))
        return Relay(f"jump host {jump}", self._look_up(jump), FAMILIES) if jump else None

    def _relay_to(self, address: str) -> Relay | None:
        proxy = self._group.proxy
        bypassed = proxy is not None and not self._group.jump and not proxy.is_for(address)
        return None if bypassed else self._relay


def _look_up_all(names: Iterable[str], look_up: Callable[[str], tuple[Family, ...]]) -> dict[str, tuple[Family, ...]]:
    """Look names up, for PATIENCE seconds altogether: where names aren't answered, connecting tells."""
    pool = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="lookup")
    try:
        asked = {pool.submit(look_up, name): name for name in names}
        answered, _late = wait(asked, timeout=PATIENCE)
        return {asked[future]: future.result() for future in answered}
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _literal(address: str) -> Address | None:
    """Read a literal address; what begins with a letter and has no colon is a name, without trying."""
    return parse_address(address) if address[:1].isdigit() or ":" in address else None
