"""Logins with tickets of Kerberos: a real KDC, a real sshd that accepts nothing else, and the system's ssh."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from reconciler.client.session import ShellSession, shell_session
from reconciler.errors import AuthenticationError, TransportError
from reconciler.model.client import Client
from reconciler.plugins.transport import openssh
from tests.fakes import fake_context, make_plugin
from tests.fleet import Fleet
from tests.kerberos import PRINCIPAL, REALM, realm
from tests.sshd import sshd_fleet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.contracts import Completed
    from tests.kerberos import Realm
    from tests.sshd import SshFleet

pytestmark = pytest.mark.needs("ssh", "sshd", "ssh-keygen", "krb5kdc", "kadmin.local", "kinit")

ONLY_TICKETS = """\
GSSAPIAuthentication yes
GSSAPIStrictAcceptorCheck no
PubkeyAuthentication no
"""
NAMED = ("127.0.2.1", "127.0.2.2")
"""The clients that have a principal; the third one has none."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    with realm(tmp_path_factory.mktemp("kerberos") / "realm", NAMED) as found:
        yield found


@pytest.fixture(scope="module")
def ticketed(tmp_path_factory: pytest.TempPathFactory, served: Realm) -> Iterator[SshFleet]:
    """Give a fleet that lets in by tickets only."""
    folder = tmp_path_factory.mktemp("ticketed")
    with sshd_fleet(folder, 3, settings=ONLY_TICKETS, environment=served.of_hosts) as fleet:
        yield fleet


@pytest.fixture
def kerberos(served: Realm, ticketed: SshFleet, monkeypatch: pytest.MonkeyPatch) -> Realm:
    """Give the realm, of which this process is a user that has no ticket."""
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    served.write(served.port)
    served.admit(ticketed.user, PRINCIPAL)
    served.log_out()
    return served


def fleet_of(ssh: SshFleet, folder: Path, *addresses: str, **options: object) -> Fleet:
    """Give a fleet whose transport has a ticket, and no key."""
    fleet = Fleet(folder, components={"rules": {}})
    transport = {name: value for name, value in ssh.transport(type="openssh", **options).items() if name != "keys"}
    entries = [{**ssh.client(address), "install_root": f"{folder}/{address}"} for address in addresses]
    groups = {"all": {"transport": {**transport, "gssapi": True}, "install_root": "/unused", "clients": entries}}
    fleet.write(groups=groups)
    fleet.release("rules", "1", rules_txt=os.urandom(50_000))
    return fleet


def asked(ssh: SshFleet, folder: Path, command: str, address: str = NAMED[0], **options: object) -> Completed:
    """Run a command on a client, over a transport with a ticket."""
    given = {name: value for name, value in ssh.options_of("openssh", gssapi=True, **options).items() if name != "keys"}
    transport = make_plugin(openssh, given, fake_context(folder, shell=shell_session))
    with transport.connect(Client("c", "g", address)) as session:
        assert isinstance(session, ShellSession)
        return session._pipe.run(command, [], timeout=60)


def test_an_apply_logs_in_with_a_ticket_and_nothing_else(kerberos: Realm, ticketed: SshFleet, tmp_path: Path) -> None:
    fleet = fleet_of(ticketed, tmp_path, *NAMED)
    kerberos.log_in()
    done = fleet.apply()
    assert (done.code, "2 clients changed" in done.out) == (0, True), done.out + done.err
    assert (tmp_path / NAMED[0] / "rules/current/rules.txt").stat().st_size == 50_000
    assert "0 changes on 0 of 2 clients" in fleet.apply().out


def test_a_ticket_leads_over_a_jump_host(kerberos: Realm, ticketed: SshFleet, tmp_path: Path) -> None:
    kerberos.log_in()
    jump = [{"address": NAMED[1], "port": ticketed.port}]
    assert asked(ticketed, tmp_path, "echo in", jump=jump).stdout == b"in\n"


def test_a_ticket_is_never_passed_on(kerberos: Realm, ticketed: SshFleet, tmp_path: Path) -> None:
    kerberos.log_in("-f")
    config = tmp_path / "config"
    config.write_text("GSSAPIDelegateCredentials yes\n")
    assert asked(ticketed, tmp_path, "echo ${KRB5CCNAME-none}", config=str(config)).stdout == b"none\n"


@pytest.mark.usefixtures("kerberos")
def test_without_a_ticket_each_client_says_so_and_nobody_is_asked(ticketed: SshFleet, tmp_path: Path) -> None:
    fleet = fleet_of(ticketed, tmp_path, *NAMED)
    done = fleet.apply()
    text = " ".join(done.out.split())
    assert done.code == 4
    assert f"user {ticketed.user} isn't let in; the host accepts gssapi" in text
    assert "No Kerberos credentials available" in text
    with pytest.raises(AuthenticationError, match="Kerberos: No Kerberos credentials available") as caught:
        asked(ticketed, tmp_path, "exit 0")
    assert caught.value.hint.startswith("get a ticket as the user who runs updoser: kinit, or")


def test_a_ticket_that_has_ended_is_said_to_have(kerberos: Realm, ticketed: SshFleet, tmp_path: Path) -> None:
    kerberos.expire()
    with pytest.raises(AuthenticationError, match="; Kerberos: Ticket expired\n") as caught:
        asked(ticketed, tmp_path, "exit 0")
    assert "kinit" in caught.value.hint


def test_a_client_that_the_realm_does_not_know_is_told_with_what_to_do(
    kerberos: Realm, ticketed: SshFleet, tmp_path: Path
) -> None:
    kerberos.log_in()
    with pytest.raises(AuthenticationError, match=rf"Server host/127\.0\.2\.3@{REALM} not found in") as caught:
        asked(ticketed, tmp_path, "exit 0", "127.0.2.3")
    assert "host/NAME" in caught.value.hint


def test_a_ticket_that_a_host_does_not_let_in_is_told_from_one_that_is_missing(
    kerberos: Realm, ticketed: SshFleet, tmp_path: Path
) -> None:
    kerberos.log_in()
    kerberos.admit(ticketed.user, f"somebody@{REALM}")
    with pytest.raises(AuthenticationError, match="isn't let in; the host accepts gssapi") as caught:
        asked(ticketed, tmp_path, "exit 0")
    assert "Kerberos" not in caught.value.message
    assert caught.value.hint.startswith("the host accepts tickets, and not this one")


def test_a_host_that_accepts_no_tickets_is_told(kerberos: Realm, ssh_fleet: SshFleet, tmp_path: Path) -> None:
    kerberos.log_in()
    with pytest.raises(AuthenticationError, match="the host accepts publickey") as caught:
        asked(ssh_fleet, tmp_path, "exit 0", agent=False)
    assert caught.value.hint.startswith("the host accepts no tickets: GSSAPIAuthentication yes")


def test_a_realm_that_gives_no_answer_is_waited_for_no_longer_than_a_login_may_take(
    kerberos: Realm, ticketed: SshFleet, tmp_path: Path
) -> None:
    kerberos.log_in()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kerberos.write(silent.getsockname()[1])
        with pytest.raises(TransportError, match="didn't let us in within 6 s") as caught:
            asked(ticketed, tmp_path, "exit 0", connect_timeout="1s")
    assert caught.value.reason == "silent"
    assert "KDC" in caught.value.hint


def test_the_doctor_says_whether_there_is_a_ticket(kerberos: Realm, ticketed: SshFleet, tmp_path: Path) -> None:
    fleet = fleet_of(ticketed, tmp_path, NAMED[0])
    without = fleet.run("doctor", "-v")
    assert without.code == 1
    text = " ".join(without.out.split())
    assert "Kerberos of group all fail this user has no ticket, or it has ended" in text
    assert "kinit -k -t KEYTAB PRINCIPAL" in text
    kerberos.log_in()
    text = " ".join(fleet.run("doctor", "-v").out.split())
    assert "Kerberos of group all ok this user has a ticket" in text
