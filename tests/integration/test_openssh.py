"""What only the system's ssh can, over a real sshd: certificates, an ssh_config, one connection for all, its end."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from reconciler.client.session import ShellSession, shell_session
from reconciler.errors import AuthenticationError, HostKeyError, SecretError, TransportError
from reconciler.formats.defaults import completed
from reconciler.model.client import Client
from reconciler.plugins.transport import _openssh_master, _openssh_pipe, openssh
from reconciler.plugins.transport._openssh_config import written
from reconciler.worker.setup import SPEAK
from tests.fakes import fake_context, make_plugin
from tests.fleet import ROOT, Fleet
from tests.old_ssh import old_ssh
from tests.sshd import OTHER_KEY, make_key, sign_key, sshd_fleet
from tests.waiting import until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from reconciler.model.client import Profile
    from tests.sshd import SshFleet

Look: TypeAlias = "Callable[..., Profile]"

pytestmark = pytest.mark.needs("ssh", "sshd", "ssh-keygen")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, authority: Path) -> Iterator[SshFleet]:
    """Give a fleet whose host key is signed for all addresses but the last; it lets in whom the authority signs."""
    with sshd_fleet(tmp_path_factory.mktemp("signed"), 3, authority=authority) as fleet:
        yield fleet


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Look at a client of a fleet, over a transport with some options; None takes one away."""

    def facts(fleet: SshFleet, address: str = "", **options: object) -> Profile:
        given = {name: value for name, value in fleet.options_of("openssh", **options).items() if value is not None}
        transport = make_plugin(openssh, given, fake_context(tmp_path, shell=shell_session))
        client = Client("c", "g", address or fleet.addresses[0], install_root=str(tmp_path / "root"))
        with transport.connect(client) as session:
            profile: Profile = session.facts(client.install_root).profile
            return profile

    return facts


def fleet_of(ssh: SshFleet, folder: Path, clients: int, **options: object) -> Fleet:
    fleet = Fleet(folder, components={"rules": {}})
    entries = [
        {**ssh.client(address), "install_root": f"{ssh.install_root(address)}-{folder.name}"}
        for address in ssh.addresses[:clients]
    ]
    transport = ssh.transport(type="openssh", **options)
    fleet.write(groups={"all": {"transport": transport, "install_root": "/unused", "clients": entries}})
    fleet.release("rules", "1", rules_txt=os.urandom(100_000))
    return fleet


# --- certificates ---------------------------------------------------------------------------------------------------


def trusting(signed: SshFleet, authority: Path, folder: Path) -> str:
    public = Path(f"{authority}.pub").read_text()
    (folder / "authorities").write_text(f"@cert-authority [127.0.2.*]:{signed.port} {public}")
    return str(folder / "authorities")


def test_a_host_is_trusted_by_the_certificate_that_an_authority_of_known_hosts_made_for_its_name(
    signed: SshFleet, authority: Path, tmp_path: Path, look: Look
) -> None:
    known_hosts = trusting(signed, authority, tmp_path)
    assert look(signed, known_hosts=known_hosts).platform.startswith("linux-")
    with pytest.raises(HostKeyError, match=r"Certificate invalid: name is not a listed principal"):
        look(signed, signed.addresses[-1], known_hosts=known_hosts)
    stranger = make_key(tmp_path / "stranger")
    with pytest.raises(HostKeyError, match=r"is unknown to .*authorities"):
        look(signed, known_hosts=trusting(signed, stranger, tmp_path))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_user_is_let_in_by_a_certificate_beside_the_key_or_elsewhere(
    signed: SshFleet, authority: Path, tmp_path: Path, look: Look, elsewhere: bool
) -> None:
    key = make_key(tmp_path / "key")
    options: dict[str, Any] = {"keys": [{"file": str(key)}]}
    with pytest.raises(AuthenticationError, match=f"user {signed.user} isn't let in; the host accepts publickey"):
        look(signed, **options)
    certificate = sign_key(authority, key, signed.user)
    if elsewhere:
        options["certificates"] = [{"file": str(certificate.rename(tmp_path / "signed.pub"))}]
    assert look(signed, **options).platform.startswith("linux-")


def test_a_certificate_that_has_ended_lets_nobody_in_and_the_doctor_says_so(
    signed: SshFleet, authority: Path, tmp_path: Path
) -> None:
    key = make_key(tmp_path / "key")
    sign_key(authority, key, signed.user, valid="20200101:20200102")
    known_hosts = trusting(signed, authority, tmp_path)
    fleet = fleet_of(signed, tmp_path, 1, keys=[{"file": str(key)}], known_hosts=known_hosts)
    done = fleet.run("doctor", "-v")
    assert done.code == 1
    text = " ".join(done.out.split())
    assert re.search(r"ssh of group all ok OpenSSH_", text)
    assert re.search(r"certificate of group all fail .*key-cert\.pub, for \S+: it ended at 2020-01-0", text)
    assert re.search(r"host authority of group all ok .*authorities trusts 1 for hosts: \[127\.0\.2\.\*\]", text)
    assert "authentication fail" in text


# --- keys that aren't ours ------------------------------------------------------------------------------------------


@pytest.mark.needs("ssh-agent", "ssh-add")
def test_a_locked_key_is_used_by_way_of_the_agent_and_nobody_is_asked_for_its_passphrase(
    ssh_fleet: SshFleet, tmp_path: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, asked = tmp_path / "locked", tmp_path / "asked"
    locked.write_bytes(ssh_fleet.key.read_bytes())
    locked.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "open sesame", "-f", locked], check=True, capture_output=True)
    asking = tmp_path / "asking"
    asking.write_text(f"#!/bin/sh\ntouch {asked}\necho open sesame\n")
    asking.chmod(0o755)
    for name, value in {"SSH_ASKPASS": asking, "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(AuthenticationError) as caught:
        look(ssh_fleet, keys=[{"file": str(locked)}])
    assert "ssh-add" in caught.value.hint
    assert not asked.exists()
    with tempfile.TemporaryDirectory() as short:
        socket = Path(short) / "agent"
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
        try:
            until(socket.exists, agent)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            subprocess.run(["ssh-add", "-q", str(ssh_fleet.key)], check=True)
            assert look(ssh_fleet, keys=[{"file": f"{ssh_fleet.key}.pub"}]).platform
            assert look(ssh_fleet, keys=None).platform
            with pytest.raises(AuthenticationError):
                look(ssh_fleet, keys=[{"file": f"{ssh_fleet.key}.pub"}], agent=False)
        finally:
            agent.terminate()
            agent.wait()


def test_a_key_that_is_not_there_is_told_and_not_passed_over(ssh_fleet: SshFleet, tmp_path: Path, look: Look) -> None:
    with pytest.raises(SecretError, match="the key .*missing isn't there"):
        look(ssh_fleet, keys=[{"file": str(tmp_path / "missing")}, {"file": str(ssh_fleet.key)}])


# --- an ssh_config of the user --------------------------------------------------------------------------------------


def test_a_config_leads_to_clients_and_loosens_nothing(ssh_fleet: SshFleet, tmp_path: Path, look: Look) -> None:
    first, second = ssh_fleet.addresses[:2]
    config = tmp_path / "config"
    (tmp_path / "more").write_text(
        f"Host far\n  HostName {first}\n  Port {ssh_fleet.port}\n  ProxyJump {second}:{ssh_fleet.port}\n"
        f"Host by-program\n  HostName {first}\n  Port {ssh_fleet.port}\n  ProxyCommand ssh -F none -o BatchMode=yes "
        f"-o UserKnownHostsFile={ssh_fleet.known_hosts} -i {ssh_fleet.key} -l %r -p %p -W %h:%p {second}\n"
        f"Host stranger\n  HostName {OTHER_KEY}\n  Port {ssh_fleet.other_port}\n"
        f"Host behind-stranger\n  HostName {first}\n  Port {ssh_fleet.port}\n"
        f"  ProxyJump {OTHER_KEY}:{ssh_fleet.other_port}\n"
    )
    config.write_text(
        f"Include {tmp_path}/more\nMatch all\n  User {ssh_fleet.user}\n  StrictHostKeyChecking no\n"
        "  UserKnownHostsFile /dev/null\n  ForwardAgent yes\n  RemoteCommand false\n  RequestTTY force\n"
        f"  ControlMaster auto\n  ControlPath {tmp_path}/theirs\n  PermitLocalCommand yes\n"
        f"  LocalCommand touch {tmp_path}/ran\n"
    )
    options: dict[str, Any] = {"config": str(config), "port": None, "user": None}
    for name in ("far", "by-program"):
        assert look(ssh_fleet, name, **options).platform.startswith("linux-")
    with pytest.raises(HostKeyError, match=r"isn't the one in .*known_hosts:\d+"):
        look(ssh_fleet, "stranger", **options)
    with pytest.raises(TransportError, match="the way to behind-stranger that .*config names leads nowhere") as caught:
        look(ssh_fleet, "behind-stranger", **options)
    assert caught.value.reason == "jump"
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "theirs").exists()
    config.chmod(0o666)
    with pytest.raises(TransportError, match="may be written to by others"):
        look(ssh_fleet, "far", **options)


def test_ssh_understands_all_that_options_can_say_and_a_config_changes_nothing_of_what_must_hold(
    tmp_path: Path,
) -> None:
    loose = tmp_path / "loose"
    loose.write_text(
        "StrictHostKeyChecking no\nBatchMode no\nPasswordAuthentication yes\nForwardAgent yes\nUpdateHostKeys yes\n"
        "GSSAPIDelegateCredentials yes\nUserKnownHostsFile /dev/null\nNoHostAuthenticationForLocalhost yes\n"
        "ControlMaster auto\nControlPath /tmp/x\nTunnel yes\nGSSAPIAuthentication no\nCompression no\nPort 2200\n"
    )
    key = {"file": "k"}
    options = {"keys": [key], "certificates": [key], "agent": False, "gssapi": True, "compression": True}
    given = completed({**options, "known_hosts": "hosts", "config": "loose"}, openssh.OPTIONS)
    (tmp_path / "config").write_text(written(given, lambda text: tmp_path / text))
    command = ["ssh", "-G", "-F", str(tmp_path / "config"), "h"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    expected = {
        "stricthostkeychecking": "true",
        "batchmode": "yes",
        "passwordauthentication": "no",
        "forwardagent": "no",
        "updatehostkeys": "false",
        "gssapiauthentication": "yes",
        "gssapidelegatecredentials": "no",
        "userknownhostsfile": str(tmp_path / "hosts"),
        "nohostauthenticationforlocalhost": "no",
        "controlmaster": "false",
        "tunnel": "false",
        "identityagent": "none",
        "compression": "yes",
        "port": "2200",
    }
    assert {name: said.get(name) for name in expected} == expected
    assert "sntrup761" not in said["kexalgorithms"]
    assert said["ciphers"].startswith("aes128-gcm@openssh.com,")


# --- one connection for all -----------------------------------------------------------------------------------------


def recorded(folder: Path) -> tuple[Path, Path]:
    """Give a program that writes down how it is called and is ssh then, and the file for that."""
    program, calls = folder / "my-ssh", folder / "calls"
    program.write_text(f'#!/bin/sh\n[ "$1" = -V ] || echo "$@" >>{calls}\nexec ssh "$@"\n')
    program.chmod(0o755)
    return program, calls


def worked_by(executor: str, ssh: SshFleet, fleet: Fleet, temporary: str) -> dict[str, Any]:
    """Give an executor; that of a worker elsewhere has the way to clients in its own file, and no other."""
    if executor != "relay":
        return {"type": executor}
    file = {"version": 1, "transport": fleet.spec["groups"]["all"]["transport"]}
    (fleet.folder / "worker.yaml").write_text(json.dumps(file))
    fleet.spec["groups"]["all"]["transport"] = {"type": "openssh", "known_hosts": "none-here"}
    command = f"env TMPDIR={temporary} {shlex.join(SPEAK)} --config {fleet.folder}/worker.yaml"
    way = {name: value for name, value in ssh.transport().items() if name != "type"}
    return {"type": "relay", "host": ssh.addresses[-1], "command": command, **way}


@pytest.mark.parametrize("executor", ["threads", "processes", "relay"])
def test_the_look_and_the_deploy_that_follows_share_one_connection_which_ends_with_the_run(
    ssh_fleet: SshFleet, tmp_path: Path, executor: str
) -> None:
    program, calls = recorded(tmp_path)
    fleet = fleet_of(ssh_fleet, tmp_path, 3, program=str(program))
    with tempfile.TemporaryDirectory() as short:  # as a socket's path must be
        fleet.write(server={**fleet.spec["server"], "executor": worked_by(executor, ssh_fleet, fleet, short)})
        done = fleet.run("apply", "--auto-approve", TMPDIR=short)
        assert done.code == 0, done.err
        assert "3 clients changed" in done.out
        assert len(calls.read_text().splitlines()) == 3
        until(lambda: not processes(short))
        assert [path for path in Path(short).iterdir() if path.name.startswith("updoser-ssh")] == []
    assert "0 changes on 0 of 3 clients" in fleet.apply().out


def processes(text: str) -> list[int]:
    """Give the processes of ssh with a text among their arguments."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "comm").read_text().strip() == "ssh" and text.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


HOLDS = """\
import sys
from pathlib import Path
from reconciler.client.session import shell_session
from reconciler.model.client import Client
from reconciler.plugins.transport import _openssh_master, _openssh_pipe, openssh
from reconciler.plugins.transport._openssh_config import written
from reconciler.worker.setup import SPEAK
from tests.fakes import fake_context, make_plugin
options = dict(user=sys.argv[2], port=int(sys.argv[3]), keys=[dict(file=sys.argv[4])], known_hosts=sys.argv[5])
transport = make_plugin(openssh, options, fake_context(Path(sys.argv[1]), shell=shell_session))
with transport.connect(Client("c", "g", sys.argv[6])) as session:
    session._pipe.run("exit 0", [], timeout=60)
    print("holds", flush=True)
    sys.stdin.read()
"""


def test_connections_of_a_run_that_was_killed_end_by_themselves_and_the_next_run_takes_its_folder_away(
    ssh_fleet: SshFleet, tmp_path: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as short:
        monkeypatch.setenv("TMPDIR", short)
        monkeypatch.setattr(tempfile, "tempdir", None)
        given = [tmp_path, ssh_fleet.user, ssh_fleet.port, ssh_fleet.key, ssh_fleet.known_hosts, ssh_fleet.addresses[0]]
        command = [sys.executable, "-c", HOLDS, *map(str, given)]
        run = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert run.stdout
        assert run.stdin
        with run.stdin, run.stdout:
            assert run.stdout.readline() == b"holds\n"
            assert len(processes(short)) == 1
            run.send_signal(signal.SIGKILL)
            run.wait()
        until(lambda: not processes(short))
        (left,) = Path(short).iterdir()
        assert left.stat().st_mode & 0o077 == 0
        assert look(ssh_fleet).platform
        assert not left.exists()


def test_a_connection_that_is_gone_is_told_and_the_next_one_is_another_and_ends_with_its_block(
    ssh_fleet: SshFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_openssh_master, "PERSIST", 3600)
    program, _calls = recorded(tmp_path)
    options = ssh_fleet.options_of("openssh", program=str(program))
    transport = make_plugin(openssh, options, fake_context(tmp_path, shell=shell_session))
    client = Client("c", "g", ssh_fleet.addresses[0])
    with transport.connect(client) as session:
        assert isinstance(session, ShellSession)
        assert session._pipe.run("exit 3", [], timeout=60).status == 3
        (pid,) = processes(str(transport._folder.path))
        os.kill(pid, signal.SIGKILL)
        until(lambda: not processes(str(transport._folder.path)))
        with pytest.raises(TransportError, match="the connection broke"):
            session._pipe.run("exit 3", [], timeout=60)
    with transport.connect(client) as session:
        assert session._pipe.run("exit 4", [], timeout=60).status == 4
    until(lambda: not processes(str(transport._folder.path)))


def test_where_no_folder_for_sockets_can_be_made_the_connection_is_not_left_open(
    ssh_fleet: SshFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[socket.socket] = []

    def dial(host: str, port: int, **options: Any) -> socket.socket:
        opened.append(context.dial(host, port, **options))
        return opened[-1]

    context = fake_context(tmp_path, shell=shell_session)
    transport = make_plugin(openssh, ssh_fleet.options_of("openssh"), replace(context, dial=dial))
    monkeypatch.setattr(tempfile, "mkdtemp", _full)
    client = Client("c", "g", ssh_fleet.addresses[0])
    with pytest.raises(TransportError, match="no folder for the sockets"), transport.connect(client):
        pytest.fail("it is connected")
    (way,) = opened
    assert way.fileno() == -1


def _full(**_options: Any) -> str:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_where_the_temporary_folder_has_a_long_path_sockets_lie_in_a_shorter_one(
    ssh_fleet: SshFleet, tmp_path: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert look(ssh_fleet).platform.startswith("linux-")
    assert list(long.iterdir()) == []


def test_a_client_that_is_silent_is_given_up_soon_once_the_run_is_to_end(
    ssh_fleet: SshFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_openssh_pipe, "GRACE", 0.1)
    context = fake_context(tmp_path, shell=shell_session)
    transport = make_plugin(openssh, ssh_fleet.options_of("openssh"), context)
    client = Client("c", "g", ssh_fleet.addresses[0])

    def feed() -> Iterator[bytes]:
        yield b"some"
        context.stop.set()

    with transport.connect(client) as session:
        assert isinstance(session, ShellSession)
        with pytest.raises(TransportError, match="silent when the run was interrupted"):
            session._pipe.run("cat; sleep 600", feed(), timeout=600)
    with pytest.raises(TransportError, match="the login at .* was given up"), transport.connect(client):
        pass


# --- ssh of another version, or of its own mind ---------------------------------------------------------------------


@pytest.mark.parametrize("number", [(8, 0), (8, 4), (9, 1)])
def test_an_older_ssh_is_told_only_what_it_understands(
    ssh_fleet: SshFleet, tmp_path: Path, number: tuple[int, int]
) -> None:
    fleet = fleet_of(ssh_fleet, tmp_path, 2, program=str(old_ssh(tmp_path, *number)))
    done = fleet.apply()
    assert (done.code, "2 clients changed" in done.out) == (0, True), done.out + done.err
    seen = fleet.run("doctor", "-v")
    assert f"ssh of group all ok OpenSSH_{number[0]}.{number[1]}p1" in " ".join(seen.out.split())


def test_an_ssh_that_does_not_understand_what_it_is_told_is_named_with_its_words(
    ssh_fleet: SshFleet, tmp_path: Path
) -> None:
    program = old_ssh(tmp_path, 8, 0, said="OpenSSH_9.9p1, of somebody")
    fleet = fleet_of(ssh_fleet, tmp_path, 1, program=str(program))
    done = fleet.apply()
    words = (
        "OpenSSH_9.9p1, of somebody doesn't understand what it is told: Bad SSH2 cipher spec '^aes128-gcm@openssh.com,"
    )
    assert done.code == 4
    assert words[:90] in " ".join(done.out.split())
    seen = fleet.run("doctor", "-v")
    assert seen.code == 1
    assert "fail OpenSSH_9.9p1, of somebody doesn't understand what it is told" in " ".join(seen.out.split())


def test_a_line_of_a_config_that_ssh_does_not_take_is_named_with_its_file(
    ssh_fleet: SshFleet, tmp_path: Path, look: Look
) -> None:
    config = tmp_path / "config"
    (tmp_path / "more").write_text("User x\nWarpFactor 9\n")
    config.write_text(f"Include {tmp_path}/more\n")
    with pytest.raises(TransportError, match=r"ssh doesn't take .*/more, line 2: Bad config\S+ option: warp") as caught:
        look(ssh_fleet, config=str(config))
    assert "`IgnoreUnknown warpfactor` before it" in caught.value.hint
    assert caught.value.reason == "other"
    config.write_text("Port 99999\n")
    with pytest.raises(TransportError, match="line 1: Bad port '99999'") as caught:
        look(ssh_fleet, config=str(config))
    assert "IgnoreUnknown" not in caught.value.hint


def test_the_doctor_says_what_an_old_ssh_can_not_use_and_what_a_new_one_does_not_believe(
    ssh_fleet: SshFleet, tmp_path: Path
) -> None:
    old, key = make_key(tmp_path / "old", "rsa"), make_key(tmp_path / "key")
    sign_key(old, key, ssh_fleet.user, algorithm="ssh-rsa")
    (tmp_path / "stick.pub").write_text("sk-ssh-ed25519@openssh.com AAAA test\n")
    keys = [{"file": str(key)}, {"file": str(tmp_path / "stick.pub")}]
    fleet = fleet_of(ssh_fleet, tmp_path, 1, program=str(old_ssh(tmp_path, 8, 1)), keys=keys)
    text = " ".join(fleet.run("doctor", "-v").out.split())
    assert "stick.pub is on hardware, which ssh knows from 8.2 on; this is OpenSSH_8.1p1" in text
    assert f"key-cert.pub, for {ssh_fleet.user}: its signature is of SHA-1" in text
    assert "ssh-keygen -t rsa-sha2-512 -s" in text


def test_a_host_whose_certificate_is_signed_by_sha1_is_told_from_others_that_are_not_trusted(
    tmp_path: Path, look: Look
) -> None:
    authority = make_key(tmp_path / "ca", "rsa")
    with sshd_fleet(tmp_path / "fleet", 2, authority=authority, algorithm="ssh-rsa") as fleet:
        with pytest.raises(HostKeyError, match="; Certificate signed with disallowed algorithm") as caught:
            look(fleet, known_hosts=trusting(fleet, authority, tmp_path))
        assert "ssh-keygen -t rsa-sha2-512 -s" in caught.value.hint


# --- ssh that is missing --------------------------------------------------------------------------------------------


def test_where_there_is_no_ssh_clients_are_unreachable_for_that_reason_and_the_doctor_names_the_package(
    ssh_fleet: SshFleet, tmp_path: Path
) -> None:
    fleet = fleet_of(ssh_fleet, tmp_path, 1)
    (tmp_path / "bin").mkdir()
    done = fleet.run("apply", "--auto-approve", PATH=str(tmp_path / "bin"))
    assert done.code == 4
    assert "the program ssh can't be started: No such file or directory" in done.out
    seen = fleet.run("doctor", PATH=str(tmp_path / "bin"))
    assert seen.code == 1
    assert "ssh of group all" in seen.out
    assert "install OpenSSH's client (Debian: openssh-client" in " ".join(seen.out.split())
