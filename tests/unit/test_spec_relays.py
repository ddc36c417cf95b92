"""`relays` of a spec: what it becomes, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reconciler.errors import SpecError
from reconciler.specfile.load import load

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.relay import RelaySpec

HEAD = """\
version: 1
defaults: {transport: {type: local}, install_root: clients}
proxies: {bridge: {url: "socks5://bridge:1080"}}
groups:
  lyon: {clients: [{name: pc-1, labels: [fast]}, {name: pc-2, address: 192.0.2.2, install_root: other}]}
  paris: {clients: [{name: pc-3, install_root: third, address: 192.0.2.3}]}
"""
RELAY = {"host": "192.0.2.9", "serves": "lyon", "store": "/var/relay", "serve": {"http": 8080}}


def relays_of(folder: Path, **relays: dict[str, Any]) -> dict[str, RelaySpec]:
    file = folder / "updoser.yaml"
    file.write_text(f"{HEAD}relays: {_flow(relays)}\n", encoding="utf-8")
    return dict(load(file, environ={}).spec.relays)


def _flow(value: Any) -> str:
    import json

    return json.dumps(value)


def problems(folder: Path, **relays: dict[str, Any]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        relays_of(folder, **relays)
    return [f"{problem.message}|{problem.hint}" for problem in caught.value.problems]


def test_a_relay_is_reached_as_clients_are_and_has_no_limits_of_its_own(tmp_path: Path) -> None:
    (relay,) = relays_of(tmp_path, lyon=RELAY).values()
    assert (relay.name, relay.hosts, relay.serves, relay.store) == ("lyon", ("192.0.2.9",), "lyon", "/var/relay")
    assert relay.transport.name == "local"
    assert (relay.clients, relay.rate, relay.disk, relay.wait, relay.then) == (0, 0, 0, 900, "direct")
    assert relay.base("192.0.2.9") == "http://192.0.2.9:8080"


def test_all_that_is_said_of_a_relay_is_taken(tmp_path: Path) -> None:
    more = {
        "host": "relay1",
        "standby": ["relay2", "2001:db8::1"],
        "serve": {"url": "https://{host}/parts/"},
        "limit": {"clients": 400, "rate": "50MB/s", "disk": "2GB"},
        "wait": "0s",
        "then": "wait",
        "transport": {"type": "ssh", "user": "relay", "port": 2222},
        "families": ["ipv6"],
        "proxy": "bridge",
    }
    (relay,) = relays_of(tmp_path, lyon=RELAY | more).values()
    assert relay.hosts == ("relay1", "relay2", "2001:db8::1")
    assert [relay.base(host) for host in relay.hosts] == [
        "https://relay1/parts",
        "https://relay2/parts",
        "https://[2001:db8::1]/parts",
    ]
    assert (relay.clients, relay.rate, relay.disk, relay.wait, relay.then) == (400, 50_000_000, 2 * 10**9, 0, "wait")
    assert (relay.transport.name, relay.transport.options["port"]) == ("ssh", 2222)
    assert (relay.spoken, relay.proxy is not None and relay.proxy.name) == (("ipv6",), "bridge")


def test_the_addresses_of_a_relay_tell_what_it_speaks_and_names_do_not(tmp_path: Path) -> None:
    found = relays_of(
        tmp_path,
        four=RELAY,
        both=RELAY | {"serves": "paris", "standby": ["2001:db8::1"]},
        unknown=RELAY | {"serves": "nobody", "standby": ["relay2"]},
    )
    assert [relay.spoken for relay in found.values()] == [("ipv4",), ("ipv4", "ipv6"), ()]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"serves": "lyon:!"}, "has a mark without a name"),
        ({"store": "relay"}, "`relay` is no absolute folder on a relay"),
        ({"store": "/a/../b"}, "is no absolute folder on a relay"),
        ({"host": "-oProxyCommand"}, "isn't a host name or an address"),
        ({"serve": {}}, "this map is empty"),
        ({"serve": {"http": 80, "url": "http://a"}}, "this map has too many keys"),
        ({"serve": {"http": 70000}}, "70000"),
        ({"serve": {"url": "http://a/?x"}}, "http://a/?x"),
        ({"serve": {"url": "http://me:secret@{host}/x"}}, "a name or a password in this URL would go to every client"),
        ({"serve": {"url": "http://{other}/x"}}, "clients can't fetch from this URL"),
        ({"serve": {"url": "http://cache/x"}, "standby": ["b"]}, "the same for the host and for those that stand by"),
        ({"standby": ["192.0.2.9"]}, "`192.0.2.9` is the host itself"),
        ({"limit": {"rate": "fast"}}, "fast"),
        ({"limit": {"clients": 0}}, "0"),
        ({"then": "never"}, "never"),
        ({"proxy": "nowhere"}, "the proxy `nowhere` isn't defined"),
        ({"transport": {"type": "local", "prt": 1}}, "unknown key `prt`"),
        ({"servs": "x"}, "unknown key `servs`"),
    ],
)
def test_what_is_wrong_with_a_relay_is_told_at_its_place(tmp_path: Path, more: Any, message: str) -> None:
    (problem,) = problems(tmp_path, lyon=RELAY | more)
    assert message in problem


def test_a_client_with_two_relays_is_refused(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, lyon=RELAY, fast=RELAY | {"serves": "label=fast"})
    assert problem == "`pc-1` is served by `fast` and by `lyon`|exclude it from one of them"


def test_a_relay_may_be_a_client_that_it_does_not_serve(tmp_path: Path) -> None:
    assert relays_of(tmp_path, lyon=RELAY | {"host": "192.0.2.2", "serves": "lyon:!pc-2"})
    (problem,) = problems(tmp_path, lyon=RELAY | {"host": "192.0.2.2"})
    assert "the relay `lyon` is served by itself|exclude it" in problem


def test_relays_that_wait_for_each_other_are_refused(tmp_path: Path) -> None:
    one = RELAY | {"host": "192.0.2.3"}
    other = RELAY | {"host": "pc-1", "serves": "paris"}
    found = problems(tmp_path, one=one, other=other)
    assert [problem.partition("|")[0] for problem in found] == [
        "the relay `one` is served by itself, over others",
        "the relay `other` is served by itself, over others",
    ]
