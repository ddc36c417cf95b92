"""Addresses, proxies, and how the server gets to a client: decided from families alone."""

from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import NetworkError
from reconciler.model.client import Client
from reconciler.model.network import Address, Family, Proxy, no_proxy_problem, parse_address
from reconciler.model.spec import GroupSpec, PluginConfig, ServerSpec
from reconciler.network import dial, lookup
from reconciler.network.dial import connect
from reconciler.network.lookup import host_families, own_families
from reconciler.observe.ways import find_ways
from reconciler.planner.reach import Relay, route

V4: tuple[Family, ...] = ("ipv4",)
V6: tuple[Family, ...] = ("ipv6",)
BOTH = (*V4, *V6)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", Address("ipv4")),
        ("2001:db8::1", Address("ipv6")),
        ("[2001:db8::1]", Address("ipv6")),
        ("::ffff:192.0.2.1", Address("ipv4")),
        ("127.0.0.1", Address("ipv4", "loopback")),
        ("::1", Address("ipv6", "loopback")),
        ("fe80::1", Address("ipv6", "link")),
        ("fe80::1%eth0", Address("ipv6", "link", "eth0")),
        ("169.254.7.7", Address("ipv4", "link")),
        ("pc-1.example", None),
        ("192.0.2", None),
        ("", None),
    ],
)
def test_literal_addresses_are_told_from_names(text: str, address: Any) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("entry", "host", "exempt"),
    [
        ("internal.example", "internal.example", True),
        ("internal.example", "a.internal.example", True),
        (".internal.example", "a.internal.example", True),
        ("*.internal.example", "a.INTERNAL.example", True),
        ("internal.example", "notinternal.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("2001:db8::/32", "2001:db8::7", True),
        ("10.0.0.0/8", "2001:db8::7", False),
        ("10.0.0.0/8", "ten.example", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("*", "anything", True),
        ("", "anything", False),
    ],
)
def test_no_proxy_takes_hosts_suffixes_addresses_and_networks(entry: str, host: str, exempt: bool) -> None:
    assert Proxy("p", "http", "proxy", 1, no_proxy=(entry,)).is_for(host) != exempt


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "http://x", "host:80", " "])
def test_what_can_never_match_is_told(entry: str) -> None:
    assert no_proxy_problem(entry)


@given(st.text(max_size=40), st.text(max_size=40))
def test_nothing_breaks_the_readers_of_addresses(entry: str, host: str) -> None:
    parse_address(host)
    no_proxy_problem(entry)
    Proxy("p", "http", "proxy", 1, no_proxy=(entry,)).is_for(host)


BRIDGE = Relay("bridge", V6, BOTH)
RULES = {
    "the same family": (V4, V4, None, "direct"),
    "both and one": (BOTH, V6, None, "direct"),
    "a name that nobody knows": (V6, (), None, "direct"),
    "a server of which nothing is known": ((), V6, None, "direct"),
    "IPv6 to IPv4": (V6, V4, None, "unreachable: pure IPv6 server, pure IPv4 client, no dual-stack proxy"),
    "IPv4 to IPv6": (V4, V6, None, "unreachable: pure IPv4 server, pure IPv6 client, no dual-stack proxy"),
    "over a bridge": (V6, V4, BRIDGE, "via bridge"),
    "over a proxy though it needn't": (V6, V6, BRIDGE, "via bridge"),
    "a bridge of the wrong family": (
        V4,
        V6,
        BRIDGE,
        "unreachable: pure IPv4 server, and bridge has only IPv6 addresses",
    ),
    "a proxy that is no bridge": (
        V6,
        V4,
        Relay("egress", V6),
        "unreachable: pure IPv6 server, pure IPv4 client, and egress speaks only IPv6",
    ),
    "a proxy of which nothing is known": (V6, V4, Relay("egress"), "via egress"),
    "a name that the proxy may know": (V6, (), BRIDGE, "via bridge"),
}


@pytest.mark.parametrize("case", RULES)
def test_the_way_follows_from_the_families(case: Any) -> None:
    server, client, relay, way = RULES[case]
    assert route(server, client, relay=relay) == way


def test_a_link_local_address_works_on_its_own_segment_only() -> None:
    zoned, bare = parse_address("fe80::1%eth0"), parse_address("fe80::1")
    assert route(BOTH, V6, address=zoned) == "direct"
    assert "needs its zone" in route(BOTH, V6, address=bare)
    assert "doesn't work across segments" in route(BOTH, V6, address=zoned, relay=BRIDGE)
    assert "doesn't speak its family" in route(V4, V6, address=zoned)
    assert route(BOTH, V4, address=parse_address("169.254.1.1")) == "direct"


def test_this_machine_is_always_reached() -> None:
    assert route(V6, V4, address=parse_address("127.0.0.1")) == "direct"


@given(*[st.sampled_from([(), V4, V6, BOTH])] * 4, st.booleans())
def test_a_client_is_reached_only_if_each_part_of_the_way_may_share_a_family(
    server: Any, client: Any, entry: Any, outward: Any, relayed: bool
) -> None:
    relay = Relay("p", entry, outward) if relayed else None
    legs = [(server, entry), (outward or entry, client)] if relayed else [(server, client)]
    possible = all(not one or not two or set(one) & set(two) for one, two in legs)
    assert route(server, client, relay=relay).startswith("unreachable") != possible


# --- a whole fleet ----------------------------------------------------------------------------------------------------


class Names:
    """Host names as a resolver would know them; counts questions."""

    def __init__(self, **known: Any) -> None:
        self.known = {name.replace("_", "-"): families for name, families in known.items()}
        self.asked: list[Any] = []

    def __call__(self, name: str) -> Any:
        self.asked.append(name)
        literal = parse_address(name)
        return (literal.family,) if literal else self.known.get(name, ())


def ways(clients: Any, *, server: Any = V6, names: Any = None, **group: Any) -> Any:
    spec = GroupSpec("g", PluginConfig("transport", "ssh"), "/r", **group)
    fleet = {"g": [Client(f"c{at}", "g", *entry) for at, entry in enumerate(clients)]}
    return find_ways(fleet, {"g": spec}, ServerSpec(None, "", families=server), look_up=names or Names())  # type: ignore[arg-type]


def test_names_are_looked_up_once_and_only_where_it_matters() -> None:
    names = Names(old=V4, new=V6)
    assert set(ways([("old",), ("old",), ("new",)], names=names)) == {"c0", "c1"}
    assert sorted(names.asked) == ["new", "old"]
    names.asked.clear()
    assert ways([("old",), ("new",)], server=BOTH, names=names) == {}
    assert names.asked == []


def test_what_is_declared_isn_t_looked_up() -> None:
    names = Names(old=V6)
    assert set(ways([("old",)], names=names, families=V4)) == {"c0"}
    assert names.asked == []
    client = Client("c0", "g", "old", families=V4)
    spec = GroupSpec("g", PluginConfig("transport", "ssh"), "/r")
    found = find_ways({"g": [client]}, {"g": spec}, ServerSpec(None, "", families=V6), look_up=names)  # type: ignore[arg-type]
    assert found["c0"].startswith("unreachable")


def test_a_proxy_and_a_jump_host_are_on_the_way_and_named() -> None:
    bridge = Proxy("bridge", "socks5h", "2001:db8::9", 1080, families=BOTH, no_proxy=("192.0.2.0/24",))
    assert ways([("198.51.100.7",)], proxy=bridge) == {"c0": "via bridge"}
    assert ways([("192.0.2.7",)], proxy=bridge)["c0"].startswith("unreachable: pure IPv6 server")
    assert ways([("198.51.100.7",)], jump="2001:db8::5") == {"c0": "via jump host 2001:db8::5"}
    assert "has only IPv4 addresses" in ways([("198.51.100.7",)], jump="192.0.2.5")["c0"]
    assert ways([("198.51.100.7",)], jump="192.0.2.5", proxy=bridge, server=V4)["c0"] == "via jump host 192.0.2.5"


def test_folders_of_this_machine_need_no_way() -> None:
    assert ways([("whatever",)], local=True) == {}


def test_what_this_machine_speaks_is_found_out_without_a_packet() -> None:
    assert set(own_families()) <= set(BOTH)
    assert host_families("192.0.2.1") == V4
    assert host_families("nowhere.invalid") == ()


def test_a_host_that_is_not_known_is_told() -> None:
    with pytest.raises(NetworkError, match=r"the host nowhere\.invalid isn't known"):
        connect("nowhere.invalid", 80, timeout=5)
    with pytest.raises(NetworkError, match=r"192\.0\.2\.1 has no IPv6 address"):
        connect("192.0.2.1", 80, family="ipv6", timeout=5)


def test_a_name_that_no_resolver_answers_for_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    done = Event()

    def never(*_arguments: Any, **_options: Any) -> None:
        done.wait()
        raise OSError

    monkeypatch.setattr(dial.socket, "getaddrinfo", never)  # type: ignore[attr-defined]
    try:
        with pytest.raises(NetworkError, match="no resolver answers"):
            connect("pc-1.example", 22, timeout=0.1)
        monkeypatch.setattr(lookup, "LOOKUP", 0.1)
        assert host_families("pc-1.example") == ()
    finally:
        done.set()
