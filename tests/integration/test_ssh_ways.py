"""The way to clients over SSH: through proxies and over jump hosts, each of them checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

import pytest

from reconciler.client.session import shell_session
from reconciler.errors import AuthenticationError, HostKeyError, TransportError
from reconciler.model.client import Client
from reconciler.model.network import Proxy
from reconciler.model.secret import SecretRef
from tests.fakes import fake_context, make_plugin
from tests.fleet import Fleet
from tests.ports import free_port
from tests.servers import Authority, Socks4, logged, microsocks, squid
from tests.sshd import MODULES, OTHER_KEY, by_both, make_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import ExitStack
    from pathlib import Path

    from reconciler.contracts import Transport
    from reconciler.model.client import Facts
    from tests.sshd import SshFleet

Look: TypeAlias = "Callable[..., Facts]"

pytestmark = pytest.mark.needs("sshd", "squid", "microsocks", "ssh")
WORD = "hunter2-secret"


@pytest.fixture
def kind() -> str:
    return "ssh"


@pytest.fixture
def look(ssh_fleet: SshFleet, tmp_path: Path, kind: str) -> Look:
    """Look at a client of the fleet, over a way."""

    def facts(
        at: int = 0,
        *,
        proxy: Proxy | None = None,
        address: str = "",
        secrets: Mapping[str, str] | None = None,
        **options: object,
    ) -> Facts:
        known = {"key": ssh_fleet.key.read_text(), "word": WORD, **(secrets or {})}
        context = fake_context(tmp_path, secrets=known, shell=shell_session, proxy=proxy)
        transport: Transport = make_plugin(MODULES[kind], ssh_fleet.options_of(kind, **options), context)
        host = address or ssh_fleet.addresses[at]
        client = Client("c", "g", host, port=ssh_fleet.other_port if host == OTHER_KEY else None)
        with transport.connect(client) as session:
            return session.facts(str(ssh_fleet.install_root(host)))

    return facts


def proxy(scheme: str, port: int, *, no_proxy: tuple[str, ...] = ()) -> Proxy:
    return Proxy("bridge", scheme, "127.0.0.1", port, "joe", SecretRef("env", "word"), no_proxy=no_proxy)


def jump(fleet: SshFleet, at: int, **more: object) -> dict[str, object]:
    return {"address": fleet.addresses[at], "port": fleet.port, **more}


def test_through_an_http_proxy_with_a_password(look: Look, tmp_path: Path, stack: ExitStack) -> None:
    port = stack.enter_context(squid(tmp_path / "squid", user="joe", password=WORD))
    assert look(proxy=proxy("http", port)).profile.platform.startswith("linux-")
    wrong = Proxy("bridge", "http", "127.0.0.1", port, "joe", SecretRef("env", "key"))
    with pytest.raises(
        TransportError, match=r"the proxy bridge gives no way to .*it wants other credentials \(HTTP 407"
    ):
        look(proxy=wrong)
    assert logged(tmp_path / "squid", "CONNECT 127.0.2.1")


@by_both
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_through_a_socks_proxy_with_a_password(look: Look, tmp_path: Path, stack: ExitStack, scheme: str) -> None:
    port = stack.enter_context(microsocks(tmp_path / "socks", user="joe", password=WORD))
    assert look(proxy=proxy(scheme, port)).profile.platform.startswith("linux-")
    wrong = Proxy("bridge", scheme, "127.0.0.1", port, "joe", SecretRef("env", "key"))
    with pytest.raises(TransportError, match="the proxy bridge gives no way to"):
        look(proxy=wrong)


@by_both
def test_through_a_proxy_that_is_spoken_with_over_tls(look: Look, tmp_path: Path, stack: ExitStack) -> None:
    authority = Authority(tmp_path / "ca")
    pair = authority.sign("localhost", "127.0.0.1")
    port = stack.enter_context(squid(tmp_path / "squid", user="joe", password=WORD, tls=pair))
    over = Proxy("bridge", "https", "127.0.0.1", port, "joe", SecretRef("env", "word"), ca=str(tmp_path / "ca/ca.pem"))
    assert look(proxy=over).profile.platform.startswith("linux-")


def test_through_a_socks_4_proxy(look: Look) -> None:
    socks = Socks4()
    assert look(proxy=Proxy("bridge", "socks4", "127.0.0.1", socks.port)).profile.platform.startswith("linux-")
    assert socks.seen[0][0] == "127.0.2.1"


def test_what_the_proxy_is_not_for_is_reached_directly(look: Look) -> None:
    assert look(proxy=proxy("http", 9, no_proxy=("127.0.2.0/24",))).profile.platform.startswith("linux-")


@by_both
def test_a_proxy_that_is_not_there_is_told_by_its_name(look: Look) -> None:
    with pytest.raises(TransportError, match=r"the proxy bridge can't be reached: 127\.0\.0\.1:9 can't be reached"):
        look(proxy=proxy("socks5h", 9))


def test_a_proxy_that_cannot_reach_the_client_says_so(look: Look, tmp_path: Path, stack: ExitStack) -> None:
    port = stack.enter_context(squid(tmp_path / "squid", user="joe", password=WORD))
    with pytest.raises(TransportError, match=r"it can't reach the destination \(HTTP 503\)"):
        look(proxy=proxy("http", port), port=free_port())


def test_something_that_is_no_proxy_is_told_so(look: Look, ssh_fleet: SshFleet) -> None:
    with pytest.raises(TransportError, match="the proxy bridge gives no way to 127"):
        look(proxy=Proxy("bridge", "http", ssh_fleet.addresses[3], ssh_fleet.port), connect_timeout="2s")


@by_both
def test_over_one_jump_host_and_over_two(look: Look, ssh_fleet: SshFleet) -> None:
    assert look(0, jump=[jump(ssh_fleet, 1)]).profile.platform.startswith("linux-")
    assert look(0, jump=[jump(ssh_fleet, 1), jump(ssh_fleet, 2)]).profile.platform.startswith("linux-")


@by_both
def test_over_a_jump_host_that_a_proxy_leads_to(
    look: Look, ssh_fleet: SshFleet, tmp_path: Path, stack: ExitStack
) -> None:
    port = stack.enter_context(microsocks(tmp_path / "socks", user="joe", password=WORD))
    found = look(0, jump=[jump(ssh_fleet, 1)], proxy=proxy("socks5h", port))
    assert found.profile.platform.startswith("linux-")


@by_both
def test_a_jump_host_whose_key_is_not_known_is_refused(look: Look, ssh_fleet: SshFleet) -> None:
    stranger = {"address": OTHER_KEY, "port": ssh_fleet.other_port}
    with pytest.raises(HostKeyError, match=rf"jump host .*{OTHER_KEY}.*isn't the one in"):
        look(0, jump=[stranger])


@by_both
def test_behind_a_jump_host_the_client_s_own_key_is_checked(look: Look, ssh_fleet: SshFleet) -> None:
    with pytest.raises(HostKeyError, match=f"the key of .*{OTHER_KEY}"):
        look(address=OTHER_KEY, jump=[jump(ssh_fleet, 1)])


def test_a_jump_host_that_lets_nobody_in_is_told(look: Look, ssh_fleet: SshFleet, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger")
    secrets = {"other": (tmp_path / "stranger").read_text()}
    with pytest.raises(AuthenticationError, match="jump host .*isn't let in"):
        look(0, jump=[jump(ssh_fleet, 1, keys=[SecretRef("env", "other")])], secrets=secrets)


@by_both
def test_a_jump_host_from_where_there_is_no_way_on_is_told(look: Look, ssh_fleet: SshFleet) -> None:
    with pytest.raises(TransportError, match=r"jump host .* has no way to"):
        look(0, jump=[jump(ssh_fleet, 1)], port=free_port())


@by_both
def test_a_fleet_is_updated_over_a_jump_host_and_the_second_run_changes_nothing(
    ssh_fleet: SshFleet, tmp_path: Path, kind: str
) -> None:
    clients = [
        {**ssh_fleet.client(address), "install_root": f"{ssh_fleet.install_root(address)}-{kind}"}
        for address in ssh_fleet.addresses[4:9]
    ]
    transport = ssh_fleet.transport(type=kind, jump=[jump(ssh_fleet, 1)])
    group = {"transport": transport, "install_root": "/nowhere", "clients": clients}
    fleet = Fleet(tmp_path, groups={"far": group}, components={"rules": {}})
    fleet.release("rules", "1", all_rules=b"one")
    done = fleet.apply()
    assert done.code == 0, done.err
    assert "5 clients changed" in done.out
    again = fleet.run("plan", "--detailed-exitcode", "--format", "json")
    assert again.code == 0
    assert again.json["changes"] == []


def test_a_plan_names_the_proxy_and_no_secret_is_anywhere(
    ssh_fleet: SshFleet, tmp_path: Path, stack: ExitStack
) -> None:
    port = stack.enter_context(squid(tmp_path / "squid", user="joe", password=WORD))
    clients = [ssh_fleet.client(address) for address in ssh_fleet.addresses[9:12]]
    group = {"transport": ssh_fleet.transport(), "install_root": "/nowhere", "clients": clients, "proxy": "bridge"}
    bridge = {"url": f"http://127.0.0.1:{port}", "username": "joe", "password": {"env": "WORD"}}
    fleet = Fleet(tmp_path, groups={"far": group}, proxies={"bridge": bridge}, components={"rules": {}})
    fleet.release("rules", "1", all_rules=b"one")
    plan = fleet.run("plan", "--format", "json", "--out", "plan.json", WORD=WORD)
    assert [change["route"] for change in plan.json["changes"] if change["action"] == "deploy"] == ["via bridge"]
    done = fleet.run("apply", "plan.json", "--events", "events.jsonl", WORD=WORD)
    assert done.code == 0, done.err
    assert ", via bridge" in done.out
    wrong = fleet.run("plan", WORD="another-secret", UPDOSER_DEBUG="1")
    assert "unknown 3" in wrong.out
    seen = [json.dumps(plan.json), done.out, done.err, wrong.out, wrong.err]
    seen += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    for text in seen:
        assert WORD not in text.replace(f"joe {WORD}", "")  # squid's own list of users is the proxy's business
        assert "another-secret" not in text
