"""The fakes behave as what they stand for, faults included: tests that use them would lie otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest

from reconciler.errors import (
    AuthenticationError,
    ClientError,
    OtherControllerError,
    ProtocolError,
    TransportError,
)
from reconciler.model.client import Client, Facts, Installed
from reconciler.model.deploy import ClientCheck, DeployReport, DeployRequest, Hook, Hooks, InstallTarget, Layout, Step
from reconciler.model.release import content_digest
from tests.fakes import FakeClient, FakeTransport, Ran, describe

CLIENT = Client("pc-1", "branch", install_root="/var/lib/updoser")
OLD, NEW = {"a": b"old", "same": b"same"}, {"a": b"new", "same": b"same"}
LAYOUT = Layout((InstallTarget("*", "/opt"),))


@pytest.fixture
def machine() -> FakeClient:
    return FakeClient()


@pytest.fixture
def transport(machine: FakeClient) -> FakeTransport:
    return FakeTransport({"pc-1": machine})


@contextmanager
def store(sha256: str) -> Iterator[BytesIO]:
    contents = {describe("", content).sha256: content for content in (b"old", b"new", b"same", b"newer")}
    yield BytesIO(contents[sha256])


def digest(files: dict[str, bytes]) -> str:
    return content_digest(describe(name, content) for name, content in files.items())


def step(to: str, files: dict[str, bytes], come_from: Any = "", was: Any = None, **fields: Any) -> Step:
    described = tuple(sorted(describe(name, content) for name, content in files.items()))
    return Step(
        component="rules",
        from_version=come_from,
        from_digest=digest(was) if was else "",
        to_version=to,
        to_digest=digest(files),
        files=described,
        **fields,
    )


def deploy(
    transport: FakeTransport, *steps: Step, keep: int = 2, lineage: str = "mine", epoch: int = 1
) -> DeployReport | None:
    with transport.connect(CLIENT) as session:
        return session.deploy(
            DeployRequest(lineage=lineage, epoch=epoch, install_root=CLIENT.install_root, keep=keep, steps=steps), store
        )


def facts(transport: FakeTransport, **options: Any) -> Facts:
    with transport.connect(CLIENT) as session:
        return session.facts(CLIENT.install_root, **options)


def statuses(report: Any) -> list[str]:
    return [outcome.status for outcome in report.outcomes]


def test_a_client_has_afterwards_what_was_deployed(transport: FakeTransport, machine: FakeClient) -> None:
    report = deploy(transport, step("1", OLD))
    assert statuses(report) == ["changed"]
    assert report.bytes_sent == 7
    assert machine.content("rules") == OLD
    profile = facts(transport).profile
    assert profile.installed == (Installed("rules", "1", digest(OLD), previous="", layout=Layout().fingerprint),)
    assert (profile.lineage, profile.epoch) == ("mine", 1)


def test_files_that_are_kept_are_not_sent_and_the_version_before_stays(
    transport: FakeTransport, machine: FakeClient
) -> None:
    deploy(transport, step("1", OLD))
    report = deploy(transport, step("2", NEW, "1", OLD, kept={"same": "same"}))
    assert (statuses(report), report.bytes_sent) == (["changed"], 3)
    assert machine.content("rules") == NEW
    assert facts(transport).profile.installed[0].previous == "1"


def test_deploying_again_changes_nothing(transport: FakeTransport, machine: FakeClient) -> None:
    deploy(transport, step("1", OLD))
    assert statuses(deploy(transport, step("1", OLD))) == ["ok"]
    assert machine.calls["changed"] == 1


def test_another_layout_of_what_is_there_is_carried_out(transport: FakeTransport) -> None:
    deploy(transport, step("1", OLD))
    again = step("1", OLD, "1", OLD, kept={name: name for name in OLD}, layout=LAYOUT)
    assert statuses(deploy(transport, again)) == ["changed"]
    assert facts(transport).profile.installed[0].layout == LAYOUT.fingerprint


def test_a_client_that_is_not_as_expected_is_stale_and_says_what_it_has(
    transport: FakeTransport, machine: FakeClient
) -> None:
    deploy(transport, step("1", OLD))
    (outcome,) = deploy(transport, step("3", {"a": b"newer"}, "2", NEW)).outcomes
    assert (outcome.status, outcome.version, outcome.digest) == ("stale", "1", digest(OLD))
    assert machine.version("rules") == "1"


def test_damage_is_seen_and_replaced_as_a_whole(transport: FakeTransport, machine: FakeClient) -> None:
    deploy(transport, step("1", OLD))
    machine.damage("rules", "a", b"evil")
    assert facts(transport).profile.installed[0].digest == ""
    assert statuses(deploy(transport, step("1", OLD, "1"))) == ["changed"]
    assert machine.content("rules") == OLD


def test_hidden_damage_is_seen_only_when_files_are_hashed(transport: FakeTransport, machine: FakeClient) -> None:
    deploy(transport, step("1", OLD))
    machine.damage("rules", "a", b"sly", hidden=True)
    assert facts(transport).profile.installed[0].digest
    assert facts(transport, verify=True).profile.installed[0].damage == "a changed"


def test_as_many_versions_stay_as_are_to_be_kept(transport: FakeTransport, machine: FakeClient) -> None:
    deploy(transport, step("1", OLD))
    deploy(transport, step("2", NEW, "1", OLD))
    deploy(transport, step("3", {"a": b"newer"}, "2", NEW))
    assert list(machine.components["rules"].versions) == ["2", "3"]


@pytest.mark.parametrize(("lineage", "epoch"), [("other", 1), ("mine", 0)])
def test_another_controller_is_refused_and_nothing_is_touched(
    transport: FakeTransport, machine: FakeClient, lineage: str, epoch: int
) -> None:
    deploy(transport, step("1", OLD))
    with pytest.raises(OtherControllerError):
        deploy(transport, step("2", NEW, "1", OLD), lineage=lineage, epoch=epoch)
    assert machine.version("rules") == "1"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"unreachable": True}, TransportError),
        ({"refuses_login": True}, AuthenticationError),
        ({"sick": True}, ClientError),
        ({"garbles": True}, ProtocolError),
        ({"dies_after": 0}, TransportError),
    ],
)
def test_faults_are_the_errors_of_the_contract(
    transport: FakeTransport, machine: FakeClient, fault: dict[str, Any], error: type[Any]
) -> None:
    for name, value in fault.items():
        setattr(machine, name, value)
    with pytest.raises(error):
        deploy(transport, step("1", OLD))
    assert machine.components == {}


def test_a_connection_that_breaks_in_the_middle_leaves_whole_versions(
    transport: FakeTransport, machine: FakeClient
) -> None:
    machine.dies_after = 1
    with pytest.raises(TransportError):
        deploy(transport, step("1", OLD), replace(step("1", NEW), component="other"))
    assert machine.version("rules") == "1"
    assert machine.version("other") == ""


@pytest.mark.parametrize("fault", [{"broken": {"rules"}}, {"free": 1}])
def test_a_deploy_that_fails_leaves_what_was_there(
    transport: FakeTransport, machine: FakeClient, fault: dict[str, Any]
) -> None:
    deploy(transport, step("1", OLD))
    for name, value in fault.items():
        setattr(machine, name, value)
    (outcome,) = deploy(transport, step("2", NEW, "1", OLD)).outcomes
    assert (outcome.status, outcome.version, outcome.digest) == ("failed", "1", digest(OLD))
    assert machine.content("rules") == OLD


WATCHED = {
    "checks": (ClientCheck("detects", "staged", "scan"), ClientCheck("runs", "switched", "ask", retries=1)),
    "hooks": Hooks(after=Hook("reload")),
}


def test_commands_are_listed_with_what_they_were_given(transport: FakeTransport, machine: FakeClient) -> None:
    with transport.connect(CLIENT) as session:
        request = DeployRequest(
            lineage="mine",
            epoch=1,
            install_root="/r",
            keep=2,
            steps=(step("1", OLD, **WATCHED),),
            vars={"site": "berlin"},
        )
        session.deploy(request, store)
    assert machine.ran == [
        Ran("staged", "detects", "rules", "1", "", {"SITE": "berlin"}, OLD),
        Ran("after", "reload", "rules", "1", "", {"SITE": "berlin"}),
        Ran("switched", "runs", "rules", "1", "", {"SITE": "berlin"}),
    ]


@pytest.mark.parametrize("fails", [True, {"2"}])
def test_a_check_fails_where_a_test_says_so_after_all_its_tries(
    transport: FakeTransport, machine: FakeClient, fails: bool | set[str]
) -> None:
    deploy(transport, step("1", OLD))
    machine.fails["runs"] = fails
    (outcome,) = deploy(transport, step("2", NEW, "1", OLD, **WATCHED)).outcomes
    assert (outcome.status, outcome.version) == ("failed", "1")
    assert [run.name for run in machine.ran] == ["detects", "reload", "runs", "runs", "reload"]
    assert machine.content("rules") == OLD


def test_a_machine_that_dies_in_a_check_was_not_checked(transport: FakeTransport, machine: FakeClient) -> None:
    machine.dies_in = "runs"
    with pytest.raises(TransportError):
        deploy(transport, step("1", OLD, **WATCHED))
    assert facts(transport).profile.installed[0].damage == "its checks were not finished"
    machine.dies_in = ""
    assert statuses(deploy(transport, step("1", OLD, "1", **WATCHED))) == ["changed"]
    assert facts(transport).profile.installed[0].digest == digest(OLD)


def test_files_that_a_test_put_there_can_be_read(transport: FakeTransport, machine: FakeClient) -> None:
    deploy(transport, step("1", OLD))
    machine.files["/etc/scanner.conf"] = b"x" * 70_000
    paths = ["/etc/scanner.conf", f"{CLIENT.install_root}/rules/current/a", "/missing"]
    with transport.connect(CLIENT) as session:
        found = session.read(CLIENT.install_root, paths)
    assert found == dict(zip(paths, (b"x" * 65_536, b"old", None), strict=True))


def test_only_one_request_changes_a_client_at_a_time(transport: FakeTransport, machine: FakeClient) -> None:
    with machine.lock, pytest.raises(ClientError, match="another process"):
        deploy(transport, step("1", OLD))


def test_a_client_that_nobody_knows_can_not_be_reached(transport: FakeTransport) -> None:
    with pytest.raises(TransportError), transport.connect(replace(CLIENT, name="pc-9")):
        pass
