"""How many processes a change costs a client, and what does many things in one of them: with perl, without it, and with
one that fails or is killed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.client.requests import facts_request
from reconciler.client.session import client_script
from reconciler.model.deploy import Layout
from tests.machine import MORE_SHELLS, SHELLS, Machine, into, kill_at_any_moment, request_bytes, step
from tests.servers import program
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from reconciler.model.deploy import Outcome
    from reconciler.model.release import Release

MANY = [f"component-{number}" for number in range(6)]
ODD = {"a b": b"blank", "-": b"dash", "it's": b"quote", "$(id)": b"", "*": b"star", "5": b"number", "tab\there": b"tab"}
ODD_FILES = {name: content for name, content in ODD.items() if not name.startswith("-")}

NONE = "exit 127"
BREAKS_OFF = 'case $4 in make | take) exec {perl} "$@" ;; *) {perl} -e "$2" $$ "$4" "$5" "$6" | head -n 1 ;; esac'
"""What a perl does that isn't there, or that breaks off when it has done one thing of many."""


@pytest.fixture(params=MORE_SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


@pytest.fixture
def perl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put another perl first in the PATH."""

    def put(body: str) -> Path:
        place = tmp_path / "tools"
        place.mkdir(exist_ok=True)
        text = body.replace("{perl}", program("perl"))
        (place / "perl").write_text(f"#!/bin/sh\necho called >>{tmp_path}/calls\n{text}\n")
        (place / "perl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
        return tmp_path / "calls"

    return put


def bring(
    machine: Machine,
    before: Sequence[Release] | None,
    version: str,
    files: Mapping[str, bytes],
    layouts: Sequence[Layout] = (),
) -> tuple[list[Release], tuple[Outcome, ...]]:
    """Bring a version of MANY components to a client, and say what became of them."""
    made = [machine.release(name, version, {n: c + name.encode() for n, c in files.items()}) for name in MANY]
    old: Sequence[Release | None] = before or [None] * len(made)
    ways = layouts or [Layout()] * len(made)
    steps = [step(was, new, way) for was, new, way in zip(old, made, ways, strict=True)]
    return made, machine.deploy(*steps)


def all_are(machine: Machine, version: str, files: Mapping[str, bytes]) -> bool:
    """Say whether all is in force, whole, and nothing left over."""
    facts = machine.facts(verify=True)
    return (
        [(entry.version, entry.damage) for entry in facts.installed] == [(version, "")] * len(MANY)
        and all(machine.current(name) == {n: c + name.encode() for n, c in files.items()} for name in MANY)
        and machine.leftovers() == []
    )


# --- the same with and without --------------------------------------------------------------------------------------


@pytest.mark.each_shell
@pytest.mark.parametrize("body", ['exec {perl} "$@"', NONE, BREAKS_OFF])
def test_many_components_arrive_and_follow_whatever_perl_there_is(
    machine: Machine, perl: Callable[[str], Path], body: str
) -> None:
    calls = perl(body)
    places = [machine.folder / "rename me", machine.folder / "link"]
    for place in places:
        place.mkdir()
    layouts = [
        Layout((into(places[0], mode="0640"),)) if number % 2 else Layout((into(places[1], "link"),))
        for number in range(len(MANY))
    ]
    old, outcomes = bring(machine, None, "1", ODD_FILES)
    assert {outcome.status for outcome in outcomes} == {"changed"}
    assert all_are(machine, "1", ODD_FILES)
    files = {**ODD_FILES, "new": b"new", "5": b"other"}
    own = [{f"{name}.{file}": content for file, content in files.items()} for name in MANY]
    made = [machine.release(name, "2", mine) for name, mine in zip(MANY, own, strict=True)]
    for before, version in ((old, "2"), (made, "3")):
        made = [machine.release(name, version, mine) for name, mine in zip(MANY, own, strict=True)]
        done = machine.deploy(*[step(was, new, way) for was, new, way in zip(before, made, layouts, strict=True)])
        assert {outcome.status for outcome in done} == {"changed"}, done
        assert [(e.version, e.damage) for e in machine.facts(verify=True).installed] == [(version, "")] * len(MANY)
        for number, mine in enumerate(own):
            there = {path.name: path for path in places[1 - number % 2].iterdir()}
            assert {name: there[name].read_bytes() for name in mine} == mine
            assert all(there[name].is_symlink() == (number % 2 == 0) for name in mine)
            assert number % 2 == 0 or {there[name].stat().st_mode & 0o7777 for name in mine} == {0o640}
    assert machine.leftovers() == []
    assert calls.read_text()


@pytest.mark.each_shell
@pytest.mark.parametrize("body", ['exec {perl} "$@"', NONE, BREAKS_OFF])
def test_one_of_many_that_fails_goes_back_and_the_others_stay(
    machine: Machine, perl: Callable[[str], Path], body: str
) -> None:
    perl(body)
    folder = machine.folder / "daemon"
    folder.mkdir()
    layouts = [Layout((into(folder, files=f"{name}.dat"),)) for name in MANY]

    def files(version: str) -> list[Release]:
        return [machine.release(name, version, {f"{name}.dat": version.encode()}) for name in MANY]

    old = files("1")
    machine.deploy(*[step(None, new, way) for new, way in zip(old, layouts, strict=True)])
    spoilt = MANY[2]
    (folder / f"{spoilt}.dat").unlink()
    (folder / f"{spoilt}.dat").mkdir()  # in the way
    have = machine.facts().by_component
    steps = [step(have[new.component], new, way) for new, way in zip(files("2"), layouts, strict=True)]
    outcomes = {outcome.component: outcome for outcome in machine.deploy(*steps)}
    assert outcomes[spoilt].status == "failed"
    assert "is a folder" in outcomes[spoilt].message
    assert machine.current(spoilt) == {f"{spoilt}.dat": b"1"}
    for name in MANY:
        if name != spoilt:
            assert outcomes[name].status == "changed"
            assert (folder / f"{name}.dat").read_bytes() == b"2"
    assert machine.leftovers() == []


@pytest.mark.each_shell
def test_a_target_of_two_components_goes_back_to_what_the_other_one_put_there(machine: Machine) -> None:
    folder, bad = machine.folder / "daemon", machine.folder / "bad"
    folder.mkdir()
    bad.mkdir()
    first = machine.release("first", "1", {"a": b"first", **{str(n): b"x" for n in range(6)}})
    second = machine.release("second", "1", {"a": b"second", "in-the-way": b"x"})
    (bad / "in-the-way").mkdir()
    (folder / "a").write_bytes(b"before")
    good, failing = machine.deploy(
        step(None, first, Layout((into(folder),))),
        step(None, second, Layout((into(folder, files="a"), into(bad)))),
    )
    assert (good.status, failing.status) == ("changed", "failed")
    assert (folder / "a").read_bytes() == b"first"
    assert not machine.facts(verify=True).by_component["first"].damage


# --- killed ---------------------------------------------------------------------------------------------------------


@pytest.mark.explore
def test_killed_between_any_two_of_many_the_client_has_whole_versions_and_the_next_request_goes_on(
    tmp_path: Path,
) -> None:
    """Each operation of perl is a call of its own here: at the n-th the script is killed, before or after it."""
    count, traps = tmp_path / "count", tmp_path / "traps"
    traps.mkdir()
    (traps / "perl").write_text(
        "#!/bin/sh\nprogram=$2\nshift 3\necho begun\nwhile [ $# -gt 0 ]; do\n"
        f"n=$(/bin/cat {count}); n=$((n - 1)); echo $n >{count}\n"
        f'[ $n -ne 0 ] || [ "$TRAP_AFTER" ] || kill -9 $TRAP_PID\n'
        "[ -d /proc/$TRAP_PID ] || exit 1\n"
        f'{program("perl")} -e "$program" $$ "$1" "$2" "$3" >/dev/null\n'
        "[ $n -ne 0 ] || kill -9 $TRAP_PID\nshift 3\ndone\necho done\n"
    )
    (traps / "perl").chmod(0o755)
    folder = tmp_path / "daemon"
    folder.mkdir()
    layouts = [Layout((into(folder, files=f"{name}.dat"),)) for name in MANY]
    machine = Machine(tmp_path)

    def releases(version: str) -> list[Release]:
        return [machine.release(name, version, {f"{name}.dat": f"{version} {name}".encode()}) for name in MANY]

    def killed(at: int, after: str) -> bool:
        shutil.rmtree(machine.root, ignore_errors=True)
        old, new = releases("1"), releases("2")
        machine.deploy(*[step(None, release, way) for release, way in zip(old, layouts, strict=True)])
        count.write_text(f"{at}\n")
        script = f"TRAP_PID=$$ PATH={traps}:$PATH; export TRAP_PID PATH\n{client_script().decode()}"
        steps = [step(was, release, way) for was, release, way in zip(old, new, layouts, strict=True)]
        done = subprocess.run(
            ["dash", "-c", script],
            input=request_bytes(machine, *steps),
            capture_output=True,
            env={"PATH": os.environ["PATH"], "TRAP_AFTER": after},
            check=False,
            timeout=PATIENCE,
        )
        entries = machine.facts(verify=True).by_component
        for name in MANY:
            whole = [{f"{name}.dat": f"{version} {name}".encode()} for version in "12"]
            assert machine.current(name) in whole, (at, after)
        again = [step(entries[release.component], release, way) for release, way in zip(new, layouts, strict=True)]
        outcomes = machine.deploy(*again)
        assert {outcome.status for outcome in outcomes} <= {"changed", "ok"}, (at, after, outcomes)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            f"{name}.dat": f"2 {name}".encode() for name in MANY
        }
        assert [entry.damage for entry in machine.facts(verify=True).installed] == [""] * len(MANY)
        assert machine.leftovers() == []
        return done.returncode != 0

    assert kill_at_any_moment(killed, count, 6, ("", "1")) > 30


@pytest.mark.needs("perl")
def test_a_perl_whose_script_was_killed_does_nothing_more(tmp_path: Path) -> None:
    found = re.search(r"^ACTIONS='\n(.*?)^'$", client_script().decode(), re.MULTILINE | re.DOTALL)
    assert found
    for parent, there in ((os.getpid(), True), (1, False)):
        command = ["perl", "-e", found[1], str(parent), "link", "text", str(tmp_path / "name")]
        subprocess.run(command, check=False, capture_output=True, timeout=PATIENCE)
        assert (tmp_path / "name").is_symlink() == there
        (tmp_path / "name").unlink(missing_ok=True)


# --- counted --------------------------------------------------------------------------------------------------------


FORKED = re.compile(r"^\d+ +(?:(?:clone3?|v?fork)\(|<\.\.\. (?:clone3?|v?fork) resumed).* = [1-9]\d*$", re.MULTILINE)


def processes(machine: Machine, request: bytes) -> int:
    """Give how many processes a request starts, the shell itself among them.

    Who shows that it lives sleeps a second, again and again, for as long as it takes: here it sleeps once.
    """
    tools = machine.folder / "sleepers"
    tools.mkdir(exist_ok=True)
    (tools / "sleep").write_text("#!/bin/sh\nexec /bin/sleep 3600\n")
    (tools / "sleep").chmod(0o755)
    trace, command = machine.folder / "trace", [*machine.shell.split(), "-c", client_script().decode()]
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=clone,clone3,fork,vfork", "-e", "signal=none", "-o", trace, *command],
        input=request,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.stdout.startswith(b"updoser 1 "), done.stderr.decode()
    assert b"updoser 1 error" not in done.stdout
    assert b" failed " not in done.stdout
    return len(FORKED.findall(trace.read_text())) + 1


@pytest.fixture(params=SHELLS)
def counted(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


def cost(
    machine: Machine, before: Sequence[Release | None], after: Sequence[Release], layout: Layout | None = None
) -> int:
    """Give how many processes it takes to come from one version of many components to another."""
    steps = [step(was, new, layout) for was, new in zip(before, after, strict=True)]
    return processes(machine, request_bytes(machine, *steps))


def numbered(machine: Machine, count: int, version: str) -> list[Release]:
    return [
        machine.release(f"component-{number}", version, {f"{number}.dat": f"{version} {number}".encode()})
        for number in range(count)
    ]


@pytest.mark.each_shell
@pytest.mark.needs("strace", "perl")
@pytest.mark.parametrize("count", [20, 60])
def test_a_deploy_of_many_components_starts_no_more_processes_than_one_of_a_few(counted: Machine, count: int) -> None:
    old, new, newer = (numbered(counted, count, version) for version in "123")
    folder = counted.folder / "daemon"
    folder.mkdir()
    layout = Layout((into(folder),))
    assert cost(counted, [None] * count, old) <= 35
    assert processes(counted, facts_request(str(counted.root), verify=False)) <= 13
    assert cost(counted, old, new) <= 21
    assert cost(counted, new, newer, layout) <= 38
    assert cost(counted, new, newer, layout) <= 10, "there is nothing left to do"


@pytest.mark.each_shell
@pytest.mark.needs("strace")
def test_without_perl_a_component_costs_the_processes_of_its_one_file_and_its_link(
    counted: Machine, perl: Callable[[str], Path]
) -> None:
    perl(NONE)
    count = 20
    old, new, newer = (numbered(counted, count, version) for version in "123")
    folder = counted.folder / "daemon"
    folder.mkdir()
    assert cost(counted, [None] * count, old) <= 37 + count * 2
    assert cost(counted, old, new) <= 23 + count * 3
    assert cost(counted, new, newer, Layout((into(folder),))) <= 38 + count * 4
