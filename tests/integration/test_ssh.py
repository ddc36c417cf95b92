"""Clients over a real sshd, by both transports: who is let in, which hosts are trusted, and clients that misbehave."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import yaml

from reconciler.client.session import ShellSession, shell_session
from reconciler.errors import AuthenticationError, HostKeyError, SecretError, TransportError
from reconciler.formats.known_hosts import hashed_name, host_name
from reconciler.model.client import Client
from reconciler.model.secret import SecretRef
from reconciler.plugins.transport import ssh
from tests.fakes import fake_context, make_plugin
from tests.fleet import Fleet
from tests.sshd import DIES, HANGS, MODULES, NOISY, OTHER_KEY, by_both, make_key, sshd_fleet, sudo_user
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconciler.contracts import Transport
    from reconciler.model.client import Profile
    from tests.sshd import SshFleet

MakeTransport: TypeAlias = "Callable[..., Transport]"
Look: TypeAlias = "Callable[..., Profile]"

pytestmark = pytest.mark.needs("sshd", "ssh-keygen", "ssh")


@pytest.fixture
def kind() -> str:
    return "ssh"


@pytest.fixture
def transport(ssh_fleet: SshFleet, tmp_path: Path, kind: str) -> MakeTransport:
    """Give a function that makes a transport; secrets are files of the test's folder or the fleet's key."""

    def make(**options: object) -> Transport:
        secrets = {"key": ssh_fleet.key.read_text()}
        secrets.update({path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()})
        context = fake_context(tmp_path, shell=shell_session, secrets=secrets)
        made: Transport = make_plugin(MODULES[kind], ssh_fleet.options_of(kind, **options), context)
        return made

    return make


@pytest.fixture
def look(ssh_fleet: SshFleet, tmp_path: Path) -> Look:
    def facts(transport: Transport, address: str = "", **fields: Any) -> Profile:
        client = Client("c", "g", address or ssh_fleet.addresses[0], install_root=str(tmp_path / "root"), **fields)
        with transport.connect(client) as session:
            return session.facts(client.install_root).profile

    return facts


# --- logging in -----------------------------------------------------------------------------------------------------


@by_both
def test_the_right_key_is_let_in(transport: MakeTransport, look: Look) -> None:
    assert look(transport()).platform.startswith("linux-")


def test_keys_are_tried_in_their_order_and_wrong_ones_do_no_harm(
    transport: MakeTransport, look: Look, tmp_path: Path
) -> None:
    make_key(tmp_path / "wrong")
    assert look(transport(keys=[SecretRef("env", "wrong"), SecretRef("env", "key")])).platform


def test_a_wrong_key_is_refused_with_what_was_tried(transport: MakeTransport, look: Look, tmp_path: Path) -> None:
    make_key(tmp_path / "wrong")
    with pytest.raises(AuthenticationError) as caught:
        look(transport(keys=[SecretRef("env", "wrong")]))
    assert "{env: wrong}" in caught.value.message
    assert "authorized_keys" in caught.value.hint


@by_both
def test_a_wrong_user_is_refused(transport: MakeTransport, look: Look) -> None:
    with pytest.raises(AuthenticationError):
        look(transport(), user="nobody-of-this-name")


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_locked_keys_of_other_kinds_open_with_their_passphrase(tmp_path: Path, kind: str) -> None:
    make_key(tmp_path / "locked", kind, "open sesame")
    (tmp_path / "words").write_text("open sesame")
    with sshd_fleet(tmp_path / "fleet", 1, authorized=(tmp_path / "locked.pub").read_text()) as fleet:
        secrets = {"locked": (tmp_path / "locked").read_text(), "words": "open sesame", "bad": "no"}
        context = fake_context(tmp_path, shell=shell_session, secrets=secrets)
        client = Client("c", "g", fleet.addresses[0])
        keys = [SecretRef("env", "locked")]
        with make_plugin(ssh, fleet.options(keys=keys, passphrase=SecretRef("env", "words")), context).connect(client):
            pass
        wrong: tuple[dict[str, object], ...] = ({}, {"passphrase": SecretRef("env", "bad")})
        for options in wrong:
            with (
                pytest.raises(SecretError),
                make_plugin(ssh, fleet.options(keys=keys, **options), context).connect(client),
            ):
                pass


@pytest.mark.needs("ssh-agent", "ssh-add")
def test_the_keys_of_an_agent_are_tried(
    transport: MakeTransport, look: Look, ssh_fleet: SshFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        until(socket.exists, agent)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(["ssh-add", "-q", str(ssh_fleet.key)], check=True)
        assert look(transport(keys=[], agent=True)).platform
    finally:
        agent.terminate()
        agent.wait()


# --- trusting hosts -------------------------------------------------------------------------------------------------


def trusted(ssh_fleet: SshFleet, tmp_path: Path, text: str) -> dict[str, str]:
    file = tmp_path / "known_hosts"
    file.write_text(text)
    return {"known_hosts": str(file)}


def line(ssh_fleet: SshFleet, kind: str = "ed25519", marker: str = "", name: str = "") -> str:
    shown = name or host_name(ssh_fleet.addresses[0], ssh_fleet.port)
    types = {"ed25519": "ssh-ed25519", "ecdsa": "ecdsa-sha2-nistp256", "rsa": "ssh-rsa"}
    return f"{marker}{shown} {types[kind]} {ssh_fleet.host_keys[kind]}\n"


@by_both
@pytest.mark.parametrize("known", ["ed25519", "ecdsa", "rsa"])
def test_a_host_is_asked_for_the_key_that_is_known(
    transport: MakeTransport, look: Look, ssh_fleet: SshFleet, tmp_path: Path, known: str
) -> None:
    assert look(transport(**trusted(ssh_fleet, tmp_path, line(ssh_fleet, known)))).platform


@by_both
def test_hashed_names_and_globs_are_understood(
    transport: MakeTransport, look: Look, ssh_fleet: SshFleet, tmp_path: Path
) -> None:
    name = host_name(ssh_fleet.addresses[0], ssh_fleet.port)
    for known in (hashed_name(name, b"s" * 20), f"[127.0.2.*]:{ssh_fleet.port}"):
        assert look(transport(**trusted(ssh_fleet, tmp_path, line(ssh_fleet, name=known)))).platform


@by_both
def test_an_unknown_host_is_refused_with_the_line_that_would_add_it(
    transport: MakeTransport, look: Look, ssh_fleet: SshFleet, tmp_path: Path
) -> None:
    with pytest.raises(HostKeyError) as caught:
        look(transport(**trusted(ssh_fleet, tmp_path, "")))
    assert (
        f"{ssh_fleet.port} (ssh-ed25519 SHA256:" in caught.value.message
        or "(ED25519) is unknown" in caught.value.message
    )
    assert f"ssh-keyscan -p {ssh_fleet.port}" in caught.value.hint


@by_both
def test_a_host_with_another_key_is_refused_with_the_line_that_has_the_old_one(
    transport: MakeTransport, look: Look, ssh_fleet: SshFleet
) -> None:
    with pytest.raises(HostKeyError, match=r"known_hosts:\d+"):
        look(transport(), OTHER_KEY, port=ssh_fleet.other_port)


@by_both
def test_a_revoked_key_is_refused_even_if_it_is_trusted_too(
    transport: MakeTransport, look: Look, ssh_fleet: SshFleet, tmp_path: Path
) -> None:
    text = line(ssh_fleet) + line(ssh_fleet, marker="@revoked ", name="*")
    with pytest.raises(HostKeyError, match="revoked"):
        look(transport(**trusted(ssh_fleet, tmp_path, text)))


def test_new_hosts_are_added_with_one_line_each_and_nothing_else_is_touched(
    transport: MakeTransport, look: Look, ssh_fleet: SshFleet, tmp_path: Path
) -> None:
    before = "# mine\nother.example ssh-ed25519 AAAA\n\n# no line end"
    options = trusted(ssh_fleet, tmp_path, before)
    with ThreadPoolExecutor(8) as pool:
        several = [transport(accept_new=True, **options) for _ in range(2)]
        jobs = [(one, address) for address in ssh_fleet.addresses[:4] for one in several]
        assert all(pool.map(lambda job: look(*job).platform, jobs))
    after = Path(options["known_hosts"]).read_text()
    assert after.startswith(before + "\n")
    assert len(after.splitlines()) == len(before.splitlines()) + 4
    with pytest.raises(HostKeyError):
        look(transport(accept_new=True), OTHER_KEY, port=ssh_fleet.other_port)


# --- clients that misbehave -----------------------------------------------------------------------------------------


@by_both
def test_a_client_that_hangs_is_given_up_after_its_time(transport: MakeTransport, look: Look) -> None:
    with pytest.raises(TransportError, match="silent"):
        look(transport(idle_timeout="1s"), HANGS)


@by_both
def test_a_client_that_dies_in_the_middle_is_a_broken_connection(transport: MakeTransport, look: Look) -> None:
    with pytest.raises(TransportError, match="broke"):
        look(transport(), DIES)


@by_both
def test_a_greeting_of_the_login_shell_is_passed_over(transport: MakeTransport, look: Look) -> None:
    assert look(transport(), NOISY).platform.startswith("linux-")


@by_both
def test_an_address_where_nobody_listens_is_told_with_its_name(transport: MakeTransport, look: Look) -> None:
    with pytest.raises(TransportError, match=r"127\.0\.2\.1:1 can't be reached"):
        look(transport(), port=1)


@by_both
def test_more_output_than_anybody_reads_is_dropped_and_the_end_is_seen(
    transport: MakeTransport, ssh_fleet: SshFleet
) -> None:
    with transport().connect(Client("c", "g", ssh_fleet.addresses[0])) as session:
        assert isinstance(session, ShellSession)
        done = session._pipe.run("head -c 5000000 /dev/zero; head -c 200000 /dev/zero >&2; exit 3", [], timeout=60)
    assert (done.status, len(done.stdout), len(done.stderr)) == (3, 1024 * 1024, 64 * 1024)


@by_both
def test_a_command_that_ends_before_it_read_everything_is_no_error(
    transport: MakeTransport, ssh_fleet: SshFleet
) -> None:
    with transport().connect(Client("c", "g", ssh_fleet.addresses[0])) as session:
        assert isinstance(session, ShellSession)
        done = session._pipe.run("exit 4", (b"x" * 100_000 for _ in range(200)), timeout=60)
    assert done.status == 4


# --- the whole path -------------------------------------------------------------------------------------------------


def fleet_of(ssh_fleet: SshFleet, folder: Path, addresses: Sequence[str], **options: object) -> Fleet:
    made = Fleet(folder)
    made.spec["groups"] = {
        "all": {
            "transport": ssh_fleet.transport(**options),
            "clients": [
                {**ssh_fleet.client(address), "install_root": f"{ssh_fleet.install_root(address)}-{folder.name}"}
                for address in addresses
            ],
        }
    }
    made.spec["defaults"] = {"install_root": "/nonexistent"}
    made.write()
    made.release("rules", "1", rules_txt=os.urandom(100_000))
    made.release("engine", "1.0.0", engine_bin=os.urandom(200_000))
    return made


@by_both
def test_many_clients_are_brought_up_to_date_and_a_second_apply_changes_nothing(
    ssh_fleet: SshFleet, tmp_path: Path, kind: str
) -> None:
    addresses = ssh_fleet.addresses[:8]
    fleet = fleet_of(ssh_fleet, tmp_path, addresses, type=kind)
    first = fleet.apply("--format", "json")
    assert first.code == 0, first.err
    assert first.json["recap"]["all"]["changed"] == 8
    second = fleet.apply()
    assert "0 changes on 0 of 8 clients" in second.out
    content = (fleet.folder / "upstream/rules/1/rules.txt").read_bytes()
    for address in addresses:
        root = Path(f"{ssh_fleet.install_root(address)}-{tmp_path.name}")
        assert (root / "rules/current/rules.txt").read_bytes() == content


@by_both
def test_clients_that_misbehave_cost_no_other_and_are_told_apart(
    ssh_fleet: SshFleet, tmp_path: Path, kind: str
) -> None:
    addresses = [*ssh_fleet.addresses[:3], HANGS, DIES, NOISY, OTHER_KEY]
    fleet = fleet_of(ssh_fleet, tmp_path, addresses, type=kind)
    # The one that hangs is waited for as short as can be, and no other: on a busy machine they may be silent, too.
    groups = fleet.spec["groups"]
    hanging = [client for client in groups["all"]["clients"] if client["address"] == HANGS]
    groups["all"]["clients"] = [client for client in groups["all"]["clients"] if client not in hanging]
    groups["hanging"] = {"transport": ssh_fleet.transport(type=kind, idle_timeout="4s"), "clients": hanging}
    fleet.write()
    done = fleet.apply()
    assert done.code == 4
    assert "4 clients changed, 0 failed, 3 unreachable" in done.out
    assert f"\n  ! did not answer: 1 client of hanging\n      {HANGS}: the client was silent" in done.out
    assert f"\n  ! no connection: 1 client of all\n      {DIES}: " in done.out
    assert f"\n  ! host key not trusted: 1 client of all\n      {OTHER_KEY}: the key of " in done.out
    assert done.err.count(HANGS) == 0, "trouble is told on one stream"
    again = fleet.apply("--limit", f"*:!{HANGS}:!{DIES}:!{OTHER_KEY}")
    assert again.code == 0
    assert "0 changes on 0 of 4 clients" in again.out
    assert fleet.apply("--max-unreachable", "50%").code == 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make users")
@pytest.mark.needs("sudo", "useradd")
def test_a_user_without_rights_becomes_root_by_sudo(tmp_path: Path) -> None:
    # sshd reads the authorized keys as that user, who can't look into the folders of tests.
    with tempfile.TemporaryDirectory() as open_folder, sudo_user() as user:
        folder = Path(open_folder)
        with sshd_fleet(folder, 2, user=user) as ssh:
            fleet = fleet_of(ssh, tmp_path, ssh.addresses, become={"method": "sudo"})
            for client in fleet.spec["groups"]["all"]["clients"]:
                client["install_root"] = f"{folder}/roots/{client['name']}"
            fleet.write()
            done = fleet.apply()
            assert done.code == 0, done.err
            root = folder / "roots" / ssh.addresses[0]
            assert (root / "rules/current/rules.txt").stat().st_uid == 0
            assert (root / ".updoser").stat().st_uid == 0
            assert "0 changes on 0 of 2 clients" in fleet.apply().out
            fleet.spec["groups"]["all"]["transport"].pop("become")
            fleet.write()
            refused = fleet.apply()
            assert refused.code == 3
            assert "can't be read by user" in refused.out or "belongs to" in refused.out


def test_a_secret_shows_up_nowhere(ssh_fleet: SshFleet, tmp_path: Path) -> None:
    fleet = fleet_of(ssh_fleet, tmp_path, ssh_fleet.addresses[:1], password={"env": "SSH_PASSWORD"})
    fleet.spec["groups"]["all"]["transport"]["user"] = "s3cret-s3cret"  # as a user who mixes the two up would
    fleet.write()
    done = fleet.run("apply", "--auto-approve", "--events", "events", "--diff", SSH_PASSWORD="s3cret-s3cret")
    assert done.code == 4
    assert "********" in done.out
    assert "s3cret" not in done.out + done.err
    assert "s3cret" not in (fleet.folder / "events").read_text()
    without = fleet.run("validate")
    assert without.code == 65
    assert "SSH_PASSWORD isn't set" in without.err


@by_both
def test_connections_from_many_threads_share_what_was_read_once(
    transport: MakeTransport, look: Look, ssh_fleet: SshFleet
) -> None:
    one, ready = transport(), threading.Barrier(6)

    def job(address: str) -> Profile:
        ready.wait()
        return look(one, address)

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(job, ssh_fleet.addresses[:6]))) == 1


def test_the_spec_of_these_tests_is_one_that_a_user_could_write(ssh_fleet: SshFleet, tmp_path: Path) -> None:
    fleet = fleet_of(ssh_fleet, tmp_path, ssh_fleet.addresses[:1])
    assert fleet.run("validate").code == 0
    assert yaml.safe_load((fleet.folder / "updoser.yaml").read_text())["groups"]
