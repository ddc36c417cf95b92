"""`relays` of the spec: who has bytes for whom, and how they get there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.formats.select import parse
from reconciler.formats.size import parse_size
from reconciler.model.relay import HOST_MARK, RELAY_URL, THENS, WAIT, RelaySpec
from reconciler.specfile.groups import read_transport
from reconciler.specfile.tree import (
    Map,
    child_map,
    duration,
    families,
    pattern_of,
    text_of,
    texts,
    value_place,
    whole_of,
    word_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.errors import Problem
    from reconciler.model.client import Client
    from reconciler.model.spec import GroupSpec
    from reconciler.specfile.options import OptionReader
    from reconciler.specfile.proxies import ProxyReader


class RelayReader:
    """Reads the relays; what is wrong is added to `problems`."""

    def __init__(self, tree: Map, options: OptionReader, proxies: ProxyReader, problems: list[Problem]) -> None:
        """Take the tree, and what reads options and names of proxies."""
        self._tree = tree
        self._nodes = child_map(tree, "relays")
        self._options = options
        self._proxies = proxies
        self._problems = problems

    def read(self, groups: Mapping[str, GroupSpec]) -> dict[str, RelaySpec]:
        """Give the relays by their names; the clients that the spec lists by hand must have one each, at most."""
        found = {name: self._relay(name, node) for name, node in self._nodes.items() if isinstance(node, Map)}
        relays = {name: relay for name, relay in found.items() if relay is not None}
        if not self._problems:  # a pattern may be none
            self._check_clients(relays, [client for group in groups.values() for client in group.clients])
        return relays

    def _relay(self, name: str, node: Map) -> RelaySpec | None:
        config, _transport = read_transport(node, child_map(self._tree, "defaults"), self._options)
        serves = pattern_of(node, "serves", self._problems)
        store, limit, serve = text_of(node, "store"), child_map(node, "limit"), child_map(node, "serve")
        parts = store.split("/")[1:]
        if not store.startswith("/") or not all(parts) or {".", ".."} & set(parts) or any(char < " " for char in store):
            self._complain(
                node, "store", f"`{store}` is no absolute folder on a relay", "such as /var/lib/updoser/relay"
            )
        hosts = tuple(dict.fromkeys((text_of(node, "host"), *texts(node, "standby"))))
        if len(hosts) <= len(texts(node, "standby")):
            self._complain(node, "standby", f"`{hosts[0]}` is the host itself", "name another one")
        wait = duration(node.get("wait"))  # no time at all is a wish, too
        if config is None or not all(hosts):
            return None
        relay = RelaySpec(
            name=name,
            hosts=hosts,
            serves=serves,
            store=store,
            transport=config,
            http=whole_of(serve, "http") or 0,
            url=text_of(serve, "url"),
            clients=whole_of(limit, "clients") or 0,
            rate=_size(text_of(limit, "rate").removesuffix("/s")),
            disk=_size(text_of(limit, "disk")),
            wait=WAIT if wait is None else wait.total_seconds(),
            then=word_of(node, "then", THENS),
            families=families(node),
            proxy=self._proxies.named(node),
        )
        self._check_url(relay, serve)
        return relay

    def _check_url(self, relay: RelaySpec, serve: Map) -> None:
        if not all(RELAY_URL.fullmatch(relay.base(host)) for host in relay.hosts):
            self._complain(serve, "url", "clients can't fetch from this URL", f"such as http://{HOST_MARK}/updoser")
        elif any("@" in relay.base(host).split("/")[2] for host in relay.hosts):
            hint = "leave it out: what lies there is verified, and nothing of it is secret"
            self._complain(serve, "url", "a name or a password in this URL would go to every client", hint)
        elif len(relay.hosts) > 1 and len({relay.base(host) for host in relay.hosts}) == 1:
            hint = f"write {HOST_MARK} where the host stands"
            self._complain(serve, "url", "this URL is the same for the host and for those that stand by", hint)

    def _check_clients(self, relays: Mapping[str, RelaySpec], clients: list[Client]) -> None:
        """Refuse a client with two relays, and a relay that waits for itself: directly, or over others."""
        patterns = {name: parse(relay.serves) for name, relay in relays.items()}
        behind: dict[str, set[str]] = {name: set() for name in relays}
        told: set[frozenset[str]] = set()
        for client in clients:
            mine = [name for name, one in patterns.items() if one.matches(client.name, (client.group,), client.labels)]
            if len(mine) > 1 and frozenset(mine) not in told:
                told.add(frozenset(mine))
                says = f"`{client.name}` is served by `{mine[1]}` and by `{mine[0]}`"
                self._complain(child_map(self._nodes, mine[1]), "serves", says, "exclude it from one of them")
            for name in mine:
                behind[name] |= {other for other, relay in relays.items() if relay.is_host(client.address, client.name)}
        for name in relays:
            if name in _reached(behind, name):
                says = f"the relay `{name}` is served by itself" + ("" if name in behind[name] else ", over others")
                hint = "exclude it from `serves`: it gets its own updates from the server"
                self._complain(child_map(self._nodes, name), "serves", says, hint)

    def _complain(self, node: Map, key: str, message: str, hint: str = "") -> None:
        self._problems.append(value_place(node, key).problem(message, hint))


def _reached(behind: Mapping[str, set[str]], start: str) -> set[str]:
    """Give the relays that are clients of a relay, or of such ones."""
    found: set[str] = set()
    waiting = set(behind[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting |= behind[name]
    return found


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError:  # there is none, or it was told to be malformed
        return 0
