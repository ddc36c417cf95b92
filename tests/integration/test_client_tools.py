"""Clients whose tools can't do what an update needs, on real shells with tools that are made worse."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.client.requests import facts_request
from reconciler.client.session import client_script
from reconciler.errors import ClientError
from reconciler.model.deploy import Hook, Hooks
from tests.fleet import Fleet
from tests.machine import SHELLS, Machine, step
from tests.servers import program
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.contracts import ToolsTried
    from reconciler.model.deploy import Step

WORSE = {
    "mv -T": "case $1 in *T*) exit 1 ;; esac",
    "ln -sn": 'case $1 in -sn) shift && set -- -s "$@" ;; esac',
    "dd iflag=fullblock": 'case " $* " in *" iflag"*) exit 1 ;; esac',
    "sha256sum": 'set -- -b "$@"',
    "cp": "exit 1",
    "cp -a": "case $1 in -a) exit 1 ;; esac",
    "mkdir -p": "case $1 in -p) exit 1 ;; esac",
    "df -Pk": "exit 1",
    "chmod": "exit 1",
    "sync": "exit 1",
    "mkfifo -m": "exit 1",
}
"""What is wrong with a tool, as it begins."""
FOR_COMMANDS = {"mkfifo -m"}
ADVICE = "an update needs what the client's tools can't do: "


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


@pytest.fixture
def worsen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put worse tools first in the PATH."""

    def worsen(*what: str) -> None:
        place = tmp_path / "worse"
        place.mkdir(exist_ok=True)
        for one in what:
            tool = one.split()[0]
            (place / tool).write_text(f'#!/bin/sh\n{WORSE[one]}\nexec {shutil.which(tool)} "$@"\n')
            (place / tool).chmod(0o755)
        monkeypatch.setenv("PATH", f"{place}:/usr/bin:/bin")

    return worsen


def trial(machine: Machine, tools: ToolsTried = "commands") -> tuple[str, ...]:
    return machine.session.facts(str(machine.root), tools=tools).lacks


def test_good_tools_lack_nothing_and_trying_them_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    assert trial(machine) == ()
    assert list(tmp_path.iterdir()) == []
    machine.install("rules", "1", {"a": b"one"})
    before = machine.listing()
    assert trial(machine) == ()
    assert [name for name in machine.listing() if name not in before] == []
    assert machine.leftovers() == []
    request = facts_request(str(tmp_path / "new"), verify=False, tools="commands")
    command = [*machine.shell.split(), "-c", client_script().decode()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        answer, _errors = process.communicate(request, timeout=PATIENCE)
    assert b"lacks" not in answer
    assert [path for place in ("/dev/shm", "/tmp") for path in Path(place).glob(f"updoser.{process.pid}:*")] == []


def test_an_install_root_that_cannot_be_made_is_told_and_what_was_made_on_the_way_goes(
    machine: Machine, tmp_path: Path
) -> None:
    below = tmp_path / "a" / "b" / ("x" * 300)
    assert machine.session.facts(str(below), tools="files").unmade == str(below)
    assert machine.session.facts(str(tmp_path / "a" / "b"), tools="files").unmade == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("busybox")
def test_the_tools_of_busybox_lack_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "busybox"
    place.mkdir()
    subprocess.run(["busybox", "--install", "-s", str(place)], check=True)
    (place / "busybox").symlink_to(program("busybox"))
    monkeypatch.setenv("PATH", str(place))
    machine = Machine(tmp_path, "busybox sh")
    assert trial(machine) == ()
    machine.install("rules", "1", {"a": b"one"})
    assert machine.current("rules") == {"a": b"one"}


@pytest.mark.parametrize("what", [name for name in WORSE if not name.startswith("dd")])
def test_a_tool_that_can_not_what_an_update_needs_is_named_and_nothing_is_written(
    machine: Machine, what: str, worsen: Callable[..., None]
) -> None:
    worsen(what)
    lacks = trial(machine)
    assert what in lacks
    assert {name.split()[0] for name in lacks} == {what.split(maxsplit=1)[0]}
    way = step(None, machine.release("rules", "1", {"a": b"one"}))
    if what in FOR_COMMANDS:
        assert trial(machine, "files") == ()
        assert machine.deploy(way)[0].status == "changed"
        return
    with pytest.raises(ClientError) as refused:
        machine.deploy(way)
    assert refused.value.message == f"{ADVICE}{', '.join(lacks)}"
    assert "coreutils or busybox" in refused.value.hint
    assert not machine.root.exists()


def test_a_shell_that_has_no_local_variables_is_refused_before_it_looks(tmp_path: Path) -> None:
    script = b"local() { :; }\n" + client_script()
    request = facts_request(str(tmp_path / "root"), verify=False)
    done = subprocess.run(["bash", "-c", script], input=request, capture_output=True, timeout=PATIENCE, check=False)
    assert done.stdout == b"updoser 1 error\ntools local variables in sh\nend\n"


def test_a_client_that_can_run_no_checks_is_refused_those_only(machine: Machine, worsen: Callable[..., None]) -> None:
    worsen("mkfifo -m")
    way = step(None, machine.release("rules", "1", {"a": b"one"}))
    with pytest.raises(ClientError, match="can't do: mkfifo -m"):
        machine.deploy(replace(way, hooks=Hooks(after=Hook("true"))))
    assert machine.deploy(way)[0].status == "changed"


def test_a_dd_that_reads_half_a_block_is_named_before_the_script_is_there_and_after(
    machine: Machine, worsen: Callable[..., None]
) -> None:
    old = machine.install("rules", "1", {"a": b"one"})
    new = machine.release("rules", "2", {"a": b"two"})
    worsen("dd iflag=fullblock")

    def refused(ask: Callable[..., object], *arguments: Step) -> str:
        with pytest.raises(ClientError) as error:
            ask(*arguments)
        assert "coreutils or busybox" in error.value.hint
        return error.value.message

    assert machine.facts().by_component["rules"].version == "1", "a look needs none where the script is there"
    assert refused(machine.deploy, step(old, new)) == f"{ADVICE}dd iflag=fullblock"
    assert machine.leftovers() == []
    (machine.root / ".updoser/script").unlink()
    (machine.root / ".updoser/look").unlink()
    assert refused(machine.facts) == f"{ADVICE}dd iflag=fullblock"
    assert refused(machine.deploy, step(old, new)) == f"{ADVICE}dd iflag=fullblock"


def test_the_doctor_names_the_tool_and_what_to_do_where_apply_would_refuse(
    tmp_path: Path, worsen: Callable[..., None]
) -> None:
    fleet = Fleet(tmp_path, clients=1)
    fleet.release("rules", "1", a=b"one")
    assert fleet.run("doctor").code == 0
    worsen("mv -T", "mkfifo -m")
    done = fleet.run("doctor")
    assert done.code == 1
    assert f"{ADVICE}mv -T\n" in done.out
    assert "fix: install GNU coreutils or busybox there" in done.out
    done = fleet.apply()
    assert done.code == 3
    assert f"{ADVICE}mv -T" in done.out + done.err
    assert not fleet.root("c1").exists()
