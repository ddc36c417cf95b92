"""The transport suite over the real transports and the fake."""

import pytest

from reconciler.client.session import shell_session
from reconciler.model.client import Client
from reconciler.plugins.transport.local import Local
from reconciler.plugins.transport.ssh import Ssh
from tests.contracts.transport_suite import TransportSuite, client_at
from tests.fakes import FakeClient, FakeTransport, fake_context


@pytest.mark.needs("zstd", "bspatch")
class TestLocal(TransportSuite):
    @pytest.fixture(params=["dash", pytest.param("busybox sh", marks=pytest.mark.needs("busybox"))])
    def reached(self, request, tmp_path):
        context = fake_context(tmp_path, shell=shell_session)
        return Local({"shell": request.param}, context), client_at(tmp_path / "root")


@pytest.mark.needs("sshd", "ssh-keygen", "zstd", "bspatch")
class TestSsh(TransportSuite):
    @pytest.fixture
    def reached(self, ssh_fleet, tmp_path):
        address = ssh_fleet.addresses[0]
        context = fake_context(tmp_path, shell=shell_session, secrets={"key": ssh_fleet.key.read_text()})
        transport = Ssh(ssh_fleet.options(), context)
        return transport, Client("c1", "group", address, install_root=str(tmp_path / "root"))


class TestFake(TransportSuite):
    @pytest.fixture
    def reached(self, tmp_path):
        return FakeTransport({"c1": FakeClient(tools=("zstd", "bspatch"))}), client_at(tmp_path / "root")
