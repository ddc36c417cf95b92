"""Two processes meet on a client, and much work is done there in silence: neither says anything about a release."""

from __future__ import annotations

import subprocess
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.client.session import client_script
from reconciler.errors import BusyError
from reconciler.model.deploy import MACHINE, RELEASE, ClientCheck, Layout
from tests.fleet import Fleet
from tests.machine import SHELLS, Machine, into, request_bytes, step
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.deploy import CheckPhase, Outcome, Step

MANY = 450
"""Files: more than goes into one call of a tool."""


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


class Slow:
    """A request on its way that waits in a check of its first step until it is let go; nobody need listen to it."""

    def __init__(self, machine: Machine, first: Step, *others: Step, phase: CheckPhase = "staged") -> None:
        self._go, came = machine.folder / "go", machine.folder / "came"
        run = f"touch {came}; until test -e {self._go}; do sleep 0.1; done"
        first = replace(first, checks=(ClientCheck("slow", phase, run, timeout=300.0),))
        self._outcomes: list[Outcome] = []
        self._thread = threading.Thread(target=lambda: self._outcomes.extend(machine.deploy(first, *others)))
        self._thread.start()
        until(came.exists)

    def finish(self) -> list[Outcome]:
        self._go.touch()
        self._thread.join(PATIENCE)
        return self._outcomes


def test_what_another_process_brought_meanwhile_is_fine_where_it_is_what_was_wanted(machine: Machine) -> None:
    old = machine.install("rules", "1", {"a": b"one"})
    new = machine.release("rules", "2", {"a": b"two"})
    slow = Slow(machine, step(old, new))
    assert machine.deploy(step(old, new))[0].status == "changed"
    assert [(outcome.status, outcome.version) for outcome in slow.finish()] == [("ok", "2")]
    assert machine.current("rules") == {"a": b"two"}
    assert machine.leftovers() == []


def test_what_another_process_changed_to_something_else_is_stale_and_the_rest_goes_on(machine: Machine) -> None:
    old, kept = machine.install("rules", "1", {"a": b"one"}), machine.install("engine", "1", {"e": b"one"})
    two, three = (machine.release("rules", version, {"a": version.encode()}) for version in "23")
    engine = machine.release("engine", "2", {"e": b"two"})
    slow = Slow(machine, step(old, two), step(kept, engine))
    assert machine.deploy(step(old, three))[0].status == "changed"
    first, second = slow.finish()
    assert (first.status, first.version, first.message) == ("stale", "3", "somebody else changed it meanwhile")
    assert second.status == "changed"
    assert (machine.current("rules"), machine.current("engine")) == ({"a": b"3"}, {"e": b"two"})
    assert machine.leftovers() == []


def test_a_client_that_is_being_changed_is_busy_and_fine_where_nothing_is_left_to_do(machine: Machine) -> None:
    old, kept = machine.install("rules", "1", {"a": b"one"}), machine.install("engine", "1", {"e": b"one"})
    new, engine = machine.release("rules", "2", {"a": b"two"}), machine.release("engine", "2", {"e": b"two"})
    slow = Slow(machine, step(kept, engine), phase="switched")
    with pytest.raises(BusyError, match="is changing this client now"):
        machine.deploy(step(old, new))
    assert machine.deploy(step(None, old))[0].status == "ok"
    assert slow.finish()[0].status == "changed"


def test_a_failure_says_whether_it_is_of_the_release(machine: Machine) -> None:
    old = machine.install("rules", "1", {"a": b"one"})
    new = machine.release("rules", "2", {"a": b"two"})
    bad = replace(step(old, new), checks=(ClientCheck("never", "staged", "false"),))
    nowhere = step(None, machine.release("engine", "1", {"e": b"e"}), Layout((into(machine.folder / "nowhere"),)))
    first, second = machine.deploy(bad, nowhere)
    assert [(first.status, first.fault), (second.status, second.fault)] == [("failed", RELEASE), ("failed", MACHINE)]


def test_a_killed_controller_halts_no_release_and_takes_nothing_back(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 3)
    fleet.release("rules", "1", rules_txt=b"one")
    assert fleet.apply().code == 0
    came, go = tmp_path / "came", tmp_path / "go"
    run = f"touch {came}; until test -e {go}; do sleep 0.1; done"
    check = {"name": "slow", "for": "rules", "phase": "staged", "where": "client", "run": run, "timeout": "5m"}
    waves = [{"count": 1, "max_failed": 0}, {"share": "100%"}]
    fleet.write(defaults={"checks": [check]}, auto_update={"rollout": {"waves": waves, "on_failure": "rollback"}})
    fleet.release("rules", "2", rules_txt=b"two")
    killed = fleet.start("apply", "--auto-approve")
    until(came.exists)
    killed.kill()
    killed.communicate()
    came.unlink()
    again = fleet.start("apply", "--auto-approve")
    until(came.exists)
    go.touch()
    out, err = again.communicate(timeout=300)
    last = fleet.apply()
    assert again.returncode == 0, out + err
    assert last.code == 0, last.out + last.err
    assert "halted" not in out + last.out
    assert {(fleet.root(f"c{n}") / "rules/current").readlink().name for n in (1, 2, 3)} == {"2"}


# --- signs of life --------------------------------------------------------------------------------------------------


def test_who_goes_through_many_files_says_that_it_is_there_and_then_says_all_else_without_a_break(
    machine: Machine,
) -> None:
    tools, target = machine.folder / "bin", machine.folder / "daemon"
    tools.mkdir()
    target.mkdir()
    (tools / "sleep").write_text("#!/bin/sh\nexec /bin/sleep 0.1\n")
    (tools / "sleep").chmod(0o755)
    layout = Layout((into(target),))
    files = {f"rule-{at:04}.with-a-name-that-is-rather-long.yar": b"%d" % at for at in range(MANY)}
    new = machine.release("rules", "1", files)
    script = f"PATH={tools}:$PATH; export PATH\n{client_script().decode()}"

    def answer(data: bytes) -> bytes:
        command = [*machine.shell.split(), "-c", script]
        return subprocess.run(command, input=data, capture_output=True, timeout=300, check=False).stdout

    said, _, rest = answer(request_bytes(machine, step(None, new, layout))).partition(b"updoser 1 outcomes\n")
    assert set(said.splitlines()) == {b"updoser waits"}
    assert rest == f"rules changed 1 {new.digest} \nend\n".encode()
    assert {path.name: path.read_bytes() for path in target.iterdir()} == files
    header = f"root {machine.root}\nverify\nend\n".encode()
    said, _, rest = answer(b"updoser 1 facts %d\n" % len(header) + header).partition(b"updoser 1 facts\n")
    assert set(said.splitlines()) <= {b"updoser waits"}
    assert f"installed rules 1 {new.digest} ".encode() in rest
    assert rest.endswith(b"\nend\n")
