"""The transport suite over the real transports and the fake."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.client.session import shell_session
from reconciler.model.client import Client
from reconciler.model.deploy import ClientCheck, DeployRequest
from reconciler.plugins.transport import local, openssh, ssh
from tests.contracts.transport_suite import Content, ShellCommands, TransportSuite, client_at, step
from tests.fakes import FakeClient, FakeTransport, fake_context, make_plugin

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.contracts import Transport
    from tests.sshd import SshFleet


@pytest.mark.needs("zstd", "bspatch")
class TestLocal(TransportSuite):
    @pytest.fixture(params=["dash", "bash", pytest.param("busybox sh", marks=pytest.mark.needs("busybox"))])
    def reached(self, request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Transport, Client]:
        context = fake_context(tmp_path, shell=shell_session)
        return make_plugin(local, {"shell": request.param}, context), client_at(tmp_path / "root")

    @pytest.fixture
    def commands(self, tmp_path: Path) -> ShellCommands:
        return ShellCommands(tmp_path)


@pytest.mark.needs("sshd", "ssh-keygen", "zstd", "bspatch")
class TestSsh(TransportSuite):
    @pytest.fixture
    def reached(self, ssh_fleet: SshFleet, tmp_path: Path) -> tuple[Transport, Client]:
        address = ssh_fleet.addresses[0]
        context = fake_context(tmp_path, shell=shell_session, secrets={"key": ssh_fleet.key.read_text()})
        transport = make_plugin(ssh, ssh_fleet.options(), context)
        return transport, Client("c1", "group", address, install_root=str(tmp_path / "root"))

    @pytest.fixture
    def commands(self, tmp_path: Path) -> ShellCommands:
        return ShellCommands(tmp_path)


@pytest.mark.needs("ssh", "sshd", "ssh-keygen", "zstd", "bspatch")
class TestOpenssh(TransportSuite):
    @pytest.fixture
    def reached(self, ssh_fleet: SshFleet, tmp_path: Path) -> tuple[Transport, Client]:
        context = fake_context(tmp_path, shell=shell_session)
        transport = make_plugin(openssh, ssh_fleet.options_of("openssh"), context)
        return transport, Client("c1", "group", ssh_fleet.addresses[0], install_root=str(tmp_path / "root"))

    @pytest.fixture
    def commands(self, tmp_path: Path) -> ShellCommands:
        return ShellCommands(tmp_path)


@pytest.mark.needs("sshd", "ssh-keygen")
def test_the_time_that_checks_may_take_is_added_to_the_time_of_a_request(ssh_fleet: SshFleet, tmp_path: Path) -> None:
    context = fake_context(tmp_path, shell=shell_session, secrets={"key": ssh_fleet.key.read_text()})
    transport = make_plugin(ssh, {**ssh_fleet.options(), "timeout": "3s"}, context)
    client = Client("c1", "group", ssh_fleet.addresses[0], install_root=str(tmp_path / "root"))
    content = Content()
    way = step(None, content.release("rules", "1", a_txt=b"one"))
    way = replace(way, checks=(ClientCheck("slow", "switched", "sleep 4", timeout=20),))
    with transport.connect(client) as session:
        request = DeployRequest(lineage="lineage", epoch=1, install_root=client.install_root, keep=2, steps=(way,))
        assert session.deploy(request, content.open).outcomes[0].status == "changed"


class FakeCommands:
    """The same as ShellCommands, where the machine only pretends to run them."""

    def __init__(self, machine: FakeClient) -> None:
        self._machine = machine

    def text(self, name: str) -> str:
        return name

    def fail(self, name: str, *versions: str) -> None:
        self._machine.fails[name] = versions

    def ran(self) -> list[str]:
        ran, self._machine.ran = self._machine.ran, []
        return [f"{run.name} {run.component} {run.previous or '-'} {run.version or '-'}" for run in ran]


class TestFake(TransportSuite):
    @pytest.fixture
    def machine(self) -> FakeClient:
        return FakeClient(tools=("zstd", "bspatch"))

    @pytest.fixture
    def reached(self, tmp_path: Path, machine: FakeClient) -> tuple[Transport, Client]:
        return FakeTransport({"c1": machine}), client_at(tmp_path / "root")

    @pytest.fixture
    def commands(self, machine: FakeClient) -> FakeCommands:
        return FakeCommands(machine)
