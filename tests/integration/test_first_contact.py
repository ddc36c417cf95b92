"""How the script gets to a client that hasn't it: in one exec, packed where that can be, or from a relay."""

from __future__ import annotations

import gzip
import shutil
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.client.session import ShellSession, client_script, script_digest
from reconciler.errors import ProtocolError
from reconciler.model.deploy import FromRelay
from reconciler.plugins.transport.local import LocalPipe
from tests.machine import MORE_SHELLS, Machine, step
from tests.relay_server import relay_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.contracts import Completed, TalkingPipe

SCRIPT = client_script()
PACKED = len(gzip.compress(SCRIPT))


class CountingPipe:
    """Counts the bytes of each exec."""

    def __init__(self) -> None:
        self._local: TalkingPipe = LocalPipe()
        self.sent: list[int] = []

    def run(self, command: str, stdin: Iterable[bytes], *, timeout: float, patience: float = 0.0) -> Completed:
        self.sent.append(len(command))
        return self._local.run(command, map(self._counted, stdin), timeout=timeout, patience=patience)

    def talk(
        self,
        command: str,
        stdin: Iterable[bytes],
        reply: Callable[[bytes], Iterable[bytes] | None],
        *,
        timeout: float,
        patience: float = 0.0,
    ) -> Completed:
        self.sent.append(len(command))

        def counted(printed: bytes) -> Iterable[bytes] | None:
            answer = reply(printed)
            return None if answer is None else map(self._counted, answer)

        mine = map(self._counted, chain(stdin))
        return self._local.talk(command, mine, counted, timeout=timeout, patience=patience)

    def _counted(self, data: bytes) -> bytes:
        self.sent[-1] += len(data)
        return data


@pytest.fixture(params=MORE_SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


@pytest.fixture
def pipe(machine: Machine) -> CountingPipe:
    return met_again(machine)


def met_again(machine: Machine) -> CountingPipe:
    """Have a machine be reached over a new connection."""
    pipe = CountingPipe()
    machine.session = ShellSession(pipe, shell=machine.shell)
    return pipe


def without(folder: Path, *missing: str, **others: str) -> str:
    """Give a PATH without some programs; others are shell scripts."""
    folder.mkdir()
    for place in ("/bin", "/usr/bin", "/usr/local/bin"):
        for program in Path(place).iterdir():
            if program.name not in {*missing, *others}:
                with suppress(FileExistsError):
                    (folder / program.name).symlink_to(program)
    for name, text in others.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def changed(machine: Machine, relay: FromRelay | None = None) -> None:
    request = machine.request(step(None, machine.release("rules", "1", {"a": b"1"})))
    (outcome,) = machine.session.deploy(replace(request, relay=relay), machine.open).outcomes
    assert outcome.status == "changed", outcome
    assert machine.current("rules") == {"a": b"1"}


@pytest.mark.each_shell
def test_a_client_that_has_no_copy_is_looked_at_in_one_exec_and_changed_in_one(
    machine: Machine, pipe: CountingPipe
) -> None:
    assert machine.facts().installed == ()
    assert len(pipe.sent) == 1
    assert pipe.sent[0] < 9_000
    changed(machine)
    assert len(pipe.sent) == 2
    assert pipe.sent[1] < PACKED + 1_500
    assert (machine.root / ".updoser/script").read_bytes() == SCRIPT
    assert (machine.root / ".updoser/look").read_bytes() == client_script("facts")
    assert machine.facts().by_component["rules"].version == "1"
    assert (len(pipe.sent), pipe.sent[2] < 1_000) == (3, True)


@pytest.mark.each_shell
def test_a_client_that_was_not_looked_at_says_in_the_same_exec_whether_it_has_the_script(machine: Machine) -> None:
    pipe = met_again(machine)
    changed(machine)
    assert len(pipe.sent) == 1
    assert pipe.sent[0] < PACKED + 1_500
    has = machine.facts().by_component["rules"]
    pipe = met_again(machine)
    (outcome,) = machine.deploy(step(has, machine.release("rules", "2", {"a": b"2"})))
    assert outcome.status == "changed"
    assert (len(pipe.sent), pipe.sent[0] < 2_000) == (1, True)


@pytest.mark.each_shell
def test_a_copy_of_other_bytes_is_not_run(machine: Machine, pipe: CountingPipe) -> None:
    changed(machine)
    old, never = machine.facts().by_component["rules"], machine.folder / "never"
    for copy in ("script", "look"):
        path = machine.root / ".updoser" / copy
        path.write_bytes(path.read_bytes().replace(b"\n", b"\ntouch %s\n" % bytes(never), 1))
    pipe = met_again(machine)
    assert machine.facts().by_component["rules"].version == "1"
    assert (len(pipe.sent), pipe.sent[0] > 5_000) == (1, True)
    met_again(machine)
    assert machine.deploy(step(old, machine.release("rules", "2", {"a": b"2"})))[0].status == "changed"
    assert not never.exists()
    assert (machine.root / ".updoser/script").read_bytes() == SCRIPT
    assert (machine.root / ".updoser/look").read_bytes() == client_script("facts")


def test_files_are_read_of_a_client_without_a_copy_in_one_exec(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    pipe = met_again(machine)
    (tmp_path / "name").write_text("c1")
    assert machine.session.read(str(machine.root), [str(tmp_path / "name")]) == {str(tmp_path / "name"): b"c1"}
    assert (len(pipe.sent), pipe.sent[0] < PACKED + 1_500) == (1, True)


def test_who_has_no_gzip_gets_the_script_as_it_is_in_the_same_exec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path)
    pipe = met_again(machine)
    monkeypatch.setenv("PATH", without(tmp_path / "bin", "gzip"))
    machine.facts()
    changed(machine)
    assert len(pipe.sent) == 2
    assert len(client_script("facts")) < pipe.sent[0] < len(client_script("facts")) + 1_500
    assert len(SCRIPT) < pipe.sent[1] < len(SCRIPT) + 1_500


def test_a_gzip_that_unpacks_nothing_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path)
    pipe = met_again(machine)
    monkeypatch.setenv("PATH", without(tmp_path / "bin", gzip="head -c 1000"))
    machine.facts()
    changed(machine)
    assert len(pipe.sent) == 3, "one more for the first look"


def test_who_asks_after_nobody_listens_any_more_gets_the_script_in_another_exec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.client.opening.Reply.__call__", lambda _self, _printed: ())
    machine = Machine(tmp_path)
    pipe = met_again(machine)
    machine.facts()
    changed(machine)
    assert len(pipe.sent) == 3


def test_a_program_that_waits_for_the_end_of_its_input_gets_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.client.opening.Reply.__init__.__defaults__", (0.0,))
    session = ShellSession(LocalPipe(), shell="cat >/dev/null;exit 7;")
    with pytest.raises(ProtocolError, match="no answer"):
        session.facts(str(tmp_path))


# --- from a relay -----------------------------------------------------------------------------------------------------


def offered(*urls: str) -> FromRelay:
    return FromRelay(urls, frozenset([script_digest()]), patience=5)


@pytest.mark.each_shell
@pytest.mark.needs("curl")
def test_the_script_comes_from_a_relay_that_has_it(machine: Machine, pipe: CountingPipe) -> None:
    with relay_server() as server:
        server.give(SCRIPT)
        changed(machine, relay=offered(server.url("good")))
    assert (len(pipe.sent), pipe.sent[0] < 2_500) == (1, True)
    assert (machine.root / ".updoser/script").read_bytes() == SCRIPT


@pytest.mark.needs("curl")
@pytest.mark.parametrize("way", ["wrong", "short", "missing", "moved", "cut"])
def test_a_script_of_other_bytes_from_a_relay_is_not_run_and_comes_in_the_same_exec(way: str, tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    pipe = met_again(machine)
    with relay_server() as server:
        server.give(SCRIPT)
        changed(machine, relay=offered(server.url(way)))
        assert server.asked
    assert (len(pipe.sent), PACKED < pipe.sent[0] < PACKED + 3_000) == (1, True)


@pytest.mark.needs("curl")
def test_no_more_is_taken_of_a_relay_than_the_script_has(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    with relay_server() as server:
        server.give(SCRIPT)
        changed(machine, relay=offered(server.url("endless")))
    assert (machine.root / ".updoser/script").read_bytes() == SCRIPT


@pytest.mark.needs("curl")
def test_the_host_that_stands_by_gives_the_script_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    pipe = met_again(machine)
    with relay_server() as server:
        server.give(SCRIPT)
        changed(machine, relay=offered(server.url("wrong"), server.url("good")))
    assert pipe.sent[0] < 2_500


@pytest.mark.needs("wget")
def test_wget_gets_the_script_where_there_is_no_curl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path)
    pipe = met_again(machine)
    monkeypatch.setenv("PATH", without(tmp_path / "bin", "curl"))
    assert shutil.which("wget")
    with relay_server() as server:
        server.give(SCRIPT)
        changed(machine, relay=offered(server.url("good")))
    assert (len(pipe.sent), pipe.sent[0] < 2_500) == (1, True)
