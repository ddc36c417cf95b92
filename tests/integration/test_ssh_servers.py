"""Servers that take little, hang up, or say what they like; and a controller with many descriptors, or with few."""

from __future__ import annotations

import hashlib
import os
import resource
import socket
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import paramiko
import pytest

from reconciler.client import reach as reaching
from reconciler.client.reach import Reach
from reconciler.client.session import ShellSession, shell_session
from reconciler.errors import HungUpError, TransportError
from reconciler.model.client import Client
from tests.fakes import fake_context, make_plugin
from tests.fleet import Fleet
from tests.sshd import MODULES, by_both, sshd_fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.contracts import Transport
    from tests.sshd import SshFleet

TransportOf: TypeAlias = "Callable[..., Transport]"

pytestmark = pytest.mark.needs("sshd", "ssh-keygen", "ssh")


@pytest.fixture
def kind() -> str:
    return "ssh"


@pytest.fixture
def transport_of(tmp_path: Path, kind: str) -> TransportOf:
    def make(fleet: SshFleet, **options: object) -> Transport:
        context = fake_context(tmp_path, shell=shell_session, secrets={"key": fleet.key.read_text()})
        transport: Transport = make_plugin(MODULES[kind], fleet.options_of(kind, **options), context)
        return transport

    return make


def fleet_of(ssh: SshFleet, folder: Path, **options: object) -> Fleet:
    fleet = Fleet(folder)
    clients = [ssh.client(address) for address in ssh.addresses]
    fleet.spec["groups"] = {"all": {"transport": ssh.transport(**options), "clients": clients}}
    fleet.write(defaults={"install_root": "/nonexistent"}, components={"rules": {}})
    fleet.release("rules", "1", rules_txt=os.urandom(1000))
    return fleet


# --- servers that take little at a time -----------------------------------------------------------------------------


def test_clients_whose_server_allows_one_command_at_a_time_are_updated(tmp_path: Path) -> None:
    with sshd_fleet(tmp_path / "ssh", 4, settings="MaxSessions 1\n") as ssh:
        done = fleet_of(ssh, tmp_path).apply()
    assert done.code == 0, done.err
    assert "4 clients changed, 0 failed, 0 unreachable" in done.out


@by_both
def test_one_command_after_the_other_is_run_where_one_at_a_time_is_allowed(
    tmp_path: Path, transport_of: TransportOf
) -> None:
    with (
        sshd_fleet(tmp_path / "ssh", 1, settings="MaxSessions 1\n") as ssh,
        transport_of(ssh).connect(Client("c", "g", ssh.addresses[0])) as session,
    ):
        assert isinstance(session, ShellSession)
        for number in range(10):
            done = session._pipe.run(f"cat >&2; echo {number}", [b"x" * 100_000], timeout=60)
            assert (done.status, done.stdout.strip()) == (0, str(number).encode())


def test_a_server_that_allows_one_command_for_a_connection_gets_another_connection(
    ssh_fleet: SshFleet, transport_of: TransportOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[paramiko.Transport] = []

    def only_once(self: paramiko.Transport, *args: Any, **options: Any) -> paramiko.Channel:
        if self in opened:
            raise paramiko.ChannelException(4, "Resource shortage")
        opened.append(self)
        return real(self, *args, **options)

    real = paramiko.Transport.open_session
    monkeypatch.setattr(paramiko.Transport, "open_session", only_once)
    with transport_of(ssh_fleet).connect(Client("c", "g", ssh_fleet.addresses[0])) as session:
        assert isinstance(session, ShellSession)
        assert [session._pipe.run("exit 3", [], timeout=60).status for _ in range(3)] == [3, 3, 3]
    assert len(opened) == 3
    assert not any(transport.is_active() for transport in opened)


@pytest.mark.parametrize("settings", ["RekeyLimit 1M", "Ciphers aes128-ctr", "Ciphers aes128-ctr\nRekeyLimit 1M"])
@pytest.mark.parametrize("compression", [False, True])
def test_a_large_file_arrives_whole_whatever_it_is_sealed_with_and_however_often_keys_change(
    tmp_path: Path, transport_of: TransportOf, settings: str, compression: bool
) -> None:
    pieces = [os.urandom(size) for size in (300_000, 1, 3_000_000, 32_704, 32_705, 4_000_000)]
    with (
        sshd_fleet(tmp_path / "ssh", 1, settings=f"{settings}\n") as ssh,
        transport_of(ssh, compression=compression).connect(Client("c", "g", ssh.addresses[0])) as session,
    ):
        assert isinstance(session, ShellSession)
        done = session._pipe.run("sha256sum", pieces, timeout=60)
        again = session._pipe.run("wc -c", pieces, timeout=60)
    assert done.stdout.split()[0].decode() == hashlib.sha256(b"".join(pieces)).hexdigest()
    assert int(again.stdout) == sum(map(len, pieces))


@by_both
def test_logins_that_a_busy_server_hung_up_on_are_tried_again_until_all_are_in(
    tmp_path: Path, transport_of: TransportOf
) -> None:
    with sshd_fleet(tmp_path / "ssh", 8, settings="MaxStartups 1:100:1\n") as ssh:
        transport, ready = transport_of(ssh), threading.Barrier(8)
        got: list[bool] = []
        reach = Reach(lambda _group: transport, threading.Event())

        def log_in(address: str) -> None:
            ready.wait(60)
            got.append(reach.work(Client(address, "g", address), lambda session: session is not None))

        threads = [threading.Thread(target=log_in, args=(address,)) for address in ssh.addresses]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == [True] * 8


@contextmanager
def server(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """Serve on a port of its own: `answer` gets each connection in a thread, which is closed behind it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:

        def serve() -> None:
            while True:
                try:
                    connection, _address = listener.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        stack.callback(thread.join)
        stack.callback(listener.shutdown, socket.SHUT_RDWR)
        yield listener.getsockname()[1]


@by_both
def test_a_server_that_hangs_up_before_it_greets_is_said_to_and_tried_again_a_few_times(
    ssh_fleet: SshFleet, transport_of: TransportOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "PAUSE", 0)
    calls: list[socket.socket] = []
    with server(calls.append) as port:
        reach = Reach(lambda _group: transport_of(ssh_fleet), threading.Event())
        with pytest.raises(HungUpError, match=rf"127\.0\.0\.1\]:{port} hung up before it greeted") as caught:
            reach.work(Client("c", "g", "127.0.0.1", port=port), lambda session: session)
    assert "MaxStartups" in caught.value.hint
    assert caught.value.brief.startswith("hung up before it greeted: ")
    assert len(calls) == 1 + len(reaching.GREETING_PAUSES)


def log_in(transport: Transport, port: int) -> None:
    with transport.connect(Client("c", "g", "127.0.0.1", port=port)):
        pass


GREETINGS = {
    "NUL bytes": b"\0\0\0\0SSH-2.0-x\r\n",
    "escape sequences": b"\x1b[2J\x1b]0;owned\x07 \xc2\x9b31m\r\n" * 200,
    "no text at all": bytes(range(128, 256)) * 50 + b"\r\n",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a version that is too old": b"SSH-1.5-\x1b[31mold\r\n",
    "half a version": b"SSH-\0\r\n",
    "a packet that is none": b"SSH-2.0-x\r\n" + bytes(range(256)) * 20,
    "a packet of a gigabyte": b"SSH-2.0-x\r\n\x40\0\0\0\x04",
}


@by_both
@pytest.mark.parametrize("greeting", GREETINGS)
def test_whatever_a_server_says_is_an_error_of_its_client_that_is_fit_to_be_shown(
    ssh_fleet: SshFleet, transport_of: TransportOf, greeting: str
) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(GREETINGS[greeting])
        connection.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            while connection.recv(65536):
                pass

    with server(answer) as port, pytest.raises(TransportError) as caught:
        log_in(transport_of(ssh_fleet, connect_timeout="5s"), port)
    assert str(port) in caught.value.message
    assert caught.value.message.isprintable()
    assert caught.value.brief.isprintable()


@by_both
def test_a_server_that_says_nothing_is_given_up_after_its_time(ssh_fleet: SshFleet, transport_of: TransportOf) -> None:
    over = threading.Event()
    with server(lambda _connection: over.wait(60)) as port:
        with pytest.raises(TransportError, match="didn't greet as SSH does within 1 s"):
            log_in(transport_of(ssh_fleet, connect_timeout="1s"), port)
        over.set()


# --- descriptors ----------------------------------------------------------------------------------------------------


@pytest.fixture
def above_select() -> Iterator[None]:
    """Use all descriptors below 1024, which is what select() can handle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard) if hard != resource.RLIM_INFINITY else 4096, hard))
    with ExitStack() as stack:
        while True:
            number = os.open(os.devnull, os.O_RDONLY)
            stack.callback(os.close, number)
            if number > 1024:
                break
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@by_both
def test_descriptors_above_1023_are_as_good_as_others(
    ssh_fleet: SshFleet, transport_of: TransportOf, tmp_path: Path, above_select: None
) -> None:
    fleet = [Client("c", "g", address) for address in ssh_fleet.addresses[:2]]
    over = {"address": ssh_fleet.addresses[2], "port": ssh_fleet.port}
    ways: tuple[dict[str, object], ...] = ({}, {"jump": [over]})
    for client, options in zip(fleet, ways, strict=True):
        with transport_of(ssh_fleet, **options).connect(client) as session:
            assert session.facts(str(tmp_path / "root")).profile.platform.startswith("linux-")


def test_a_run_with_few_descriptors_works_on_fewer_clients_at_a_time_and_says_so(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, clients=16, components={"rules": {}})
    fleet.release("rules", "1", rules_txt=b"one")
    fleet.before = ["sh", "-c", 'ulimit -n 120; exec "$@"', "sh"]
    done = fleet.apply("--forks", "400")
    assert done.code == 0, done.err
    assert "16 clients changed, 0 failed, 0 unreachable" in done.out
    assert done.err.count("--forks 400 is more than the 120 files that may be open here have room for") == 1


def test_the_soft_limit_on_descriptors_is_raised_before_forks_are_cut(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, clients=16, components={"rules": {}})
    fleet.release("rules", "1", rules_txt=b"one")
    fleet.before = ["sh", "-c", 'ulimit -Sn 120; exec "$@"', "sh"]
    done = fleet.apply("--forks", "16")
    assert done.code == 0, done.err
    assert "16 clients changed, 0 failed, 0 unreachable" in done.out
    assert "--forks" not in done.err
