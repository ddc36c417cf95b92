"""Checks and hooks on real shells: what they get, what they may do, how they end, and what a killed run leaves."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.client.requests import deploy_request, patience
from reconciler.client.session import ShellSession, client_script
from reconciler.errors import ClientError
from reconciler.model.deploy import ClientCheck, Hook, Hooks, Layout, Outcome
from reconciler.plugins.transport.local import LocalPipe
from tests.machine import MORE_SHELLS, SHELLS, Machine, into, kill_at_any_moment, raw, request_bytes, slow_clock, step
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.contracts import Completed, Pipe
    from reconciler.model.deploy import InstallMethod, Purpose, Step


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


@pytest.fixture
def dash(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def staged(run: str, **more: int) -> ClientCheck:
    return ClientCheck("looks", "staged", run, **more)


def switched(run: str, **more: int) -> ClientCheck:
    return ClientCheck("runs", "switched", run, **{"interval": 0, **more})


def update(
    machine: Machine,
    *checks: ClientCheck,
    layout: Layout | None = None,
    hooks: Hooks | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Step:
    """Give the step from an installed version 1 to 2, with checks and hooks."""
    first = {"a": b"one", "lpt$vpn.1": b"x"}
    if machine.current("rules") != first:
        machine.install("rules", "1", first, layout)
    old = machine.release("rules", "1", first)
    new = machine.release("rules", "2", files or {"a": b"two", "lpt$vpn.2": b"y"})
    return replace(step(old, new, layout), checks=checks, hooks=hooks or Hooks())


def ask(machine: Machine, way: Step, purpose: Purpose) -> Outcome:
    request = replace(machine.request(way), purpose=purpose)
    return machine.session.deploy(request, machine.open).outcomes[0]


def without(machine: Machine, monkeypatch: pytest.MonkeyPatch, *tools: str) -> bytes:
    """Take tools from the machine: it gets a folder with links to all others."""
    place = machine.folder / "few"
    place.mkdir()
    for folder in ("/bin", "/usr/bin", "/sbin", "/usr/sbin"):
        for path in Path(folder).iterdir():
            if path.name not in tools and not (place / path.name).exists():
                (place / path.name).symlink_to(path)
    script = client_script().replace(b"STANDARD_PATH=", b"STANDARD_PATH=%s #" % bytes(place), 1)
    monkeypatch.setenv("PATH", str(place))
    return script


# --- what a command gets --------------------------------------------------------------------------------------------


def test_a_command_knows_what_it_is_about_and_values_are_never_code(machine: Machine) -> None:
    odd = "a 'b' \"c\" $(touch /tmp/x) `id` \\ ; * ü\t!"
    log = machine.folder / "log"
    run = (
        f'printf "%s|" "$UPDOSER_COMPONENT" "$UPDOSER_VERSION" "$UPDOSER_PREVIOUS" "$UPDOSER_ROOT" '
        f'"${{UPDOSER_STAGED+ready: $(ls "$UPDOSER_STAGED")}}" "$UPDOSER_VAR_SITE_NAME" "${{UPDOSER_VAR_BROKEN-none}}" '
        f'"$PWD" >>{log}'
    )
    way = update(machine, staged(run), switched(run))
    request = replace(machine.request(way), vars={"site-name": odd, "broken": "two\nlines"})
    (outcome,) = machine.session.deploy(request, machine.open).outcomes
    assert outcome.status == "changed"
    told = f"rules|2|1|{machine.root}|"
    assert log.read_text() == f"{told}ready: a\nlpt$vpn.2|{odd}|none|/|{told}|{odd}|none|/|"


def test_a_command_of_several_lines_is_run_as_it_is(machine: Machine) -> None:
    run = (
        "if true\nthen\n\tcase \"$1$UPDOSER_VERSION\" in\n\t2) echo 'it''s fine' ;;\n\n\tesac\nfi\n# a comment\nexit 7"
    )
    assert machine.deploy(update(machine, switched(run, expect=7)))[0].status == "changed"


def test_the_payload_can_not_be_read_by_a_command(machine: Machine) -> None:
    log = machine.folder / "log"
    thief = f"cat >>{log}; dd count=1 >>{log} 2>/dev/null"
    old = update(machine, staged(thief), hooks=Hooks(before=Hook(thief)))
    engine = machine.release("engine", "1", {"b": b"engine" * 1000})
    assert [entry.status for entry in machine.deploy(old, step(None, engine))] == ["changed", "changed"]
    assert log.read_bytes() == b""


@pytest.mark.each_shell
@pytest.mark.parametrize("status", [0, 1, 3, 124, 126, 127, 137, 143, 255])
def test_the_exit_status_is_exact(machine: Machine, status: int) -> None:
    assert machine.deploy(update(machine, switched(f"exit {status}", expect=status)))[0].status == "changed"


def test_another_exit_status_is_told_with_the_last_line(machine: Machine) -> None:
    (outcome,) = machine.deploy(update(machine, staged("echo first; echo the last >&2; echo; exit 3", expect=1)))
    assert outcome.message == "check looks failed before the switch: exit 3, expected 1: the last"
    (outcome,) = machine.deploy(update(machine, switched("kill -9 $$")))
    assert outcome.message == "check runs failed after the switch: exit 137, expected 0; it is back at 1"


def test_a_check_is_tried_again(machine: Machine) -> None:
    counter = machine.folder / "count"
    run = f"echo x >>{counter}; [ $(wc -l <{counter}) -ge 3 ]"
    assert machine.deploy(update(machine, staged(run, retries=1, interval=0)))[0].status == "failed"
    assert counter.read_text() == "x\n" * 2
    assert machine.deploy(update(machine, staged(run, retries=1, interval=1)))[0].status == "changed"


@pytest.mark.each_shell
def test_a_pipe_that_nobody_reads_any_more_ends_who_writes(machine: Machine) -> None:
    endless = "(while :; do echo x; done) | head -1; (yes && echo no) | head -1 >&2"
    hooks = Hooks(*(Hook(f"{endless}; true {kind}", timeout=20) for kind in ("before", "after", "always")))
    way = update(machine, staged(endless, timeout=20), switched(endless, timeout=20), hooks=hooks)
    assert machine.deploy(way)[0] == Outcome("rules", "changed", "2", way.to_digest)


IGNORED = "trap '' HUP INT QUIT PIPE; "


@pytest.mark.each_shell
@pytest.mark.parametrize("outside", ["", IGNORED])
def test_commands_ignore_no_signal_whoever_ignored_one_before(machine: Machine, outside: str) -> None:
    log = machine.folder / "log"
    look = f"grep SigIgn /proc/self/status >>{log}"
    hooks = Hooks(*(Hook(f"{look}; true {kind}") for kind in ("before", "after", "always")))
    data = request_bytes(machine, update(machine, staged(look), switched(look), hooks=hooks))
    start = f"{outside}exec {machine.shell} -c {shlex.quote(client_script().decode())}"
    done = subprocess.run(["dash", "-c", start], input=data, capture_output=True, timeout=PATIENCE, check=False)
    assert b"rules changed 2 " in done.stdout
    ignored = {int(line.split()[1], 16) for line in log.read_text().splitlines()}
    assert len(log.read_text().splitlines()) == 5
    named = (1 << 31) - 1  # signals 32 and up are the C library's and its callers', no shell can reset them
    assert {signals & named for signals in ignored} == {0}


@pytest.mark.each_shell
def test_a_daemon_that_a_hook_starts_hears_when_it_is_to_read_its_files_again_or_end(machine: Machine) -> None:
    pid = machine.folder / "pid"
    assert (
        machine.deploy(update(machine, hooks=Hooks(after=Hook(f"sleep 3000 & echo $! >{pid}"))))[0].status == "changed"
    )
    os.kill(int(pid.read_text()), signal.SIGHUP)
    stat = Path(f"/proc/{pid.read_text().strip()}/stat")
    until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


@pytest.mark.parametrize("shell", MORE_SHELLS)
def test_a_command_that_ended_at_once_is_not_late(tmp_path: Path, shell: str) -> None:
    machine = Machine(tmp_path, shell)
    checks = [staged("true", timeout=60) for _each in range(20)]
    assert machine.deploy(update(machine, *checks))[0].status == "changed"


# --- what a command may not do --------------------------------------------------------------------------------------


@pytest.mark.each_shell
@pytest.mark.parametrize("tools", [(), ("setsid",)])
def test_a_command_that_hangs_is_stopped_with_its_children(
    machine: Machine, tools: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = without(machine, monkeypatch, *tools) if tools else client_script()
    pids, begun = machine.folder / "pids", machine.folder / "begun"
    run = f"trap '' TERM; sleep 3000 & echo $! >>{pids}; echo $$ >>{pids}; echo hm; >{begun}; wait; sleep 3000"
    data = request_bytes(machine, update(machine, switched(run, timeout=1)))
    slow_clock(machine, monkeypatch, begun)
    done = subprocess.run(
        [*machine.shell.split(), "-c", script.decode()], input=data, capture_output=True, timeout=PATIENCE, check=False
    )
    assert b"check runs failed after the switch: no end within 1 s: hm; it is back at 1" in done.stdout
    assert machine.current("rules")["a"] == b"one"
    for pid in pids.read_text().split():
        stat = Path(f"/proc/{pid}/stat")
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.each_shell
def test_a_command_that_starts_a_daemon_is_not_waited_for_and_the_daemon_lives(machine: Machine) -> None:
    mark, end = machine.folder / "mark", machine.folder / "end"
    daemon = f"while ! test -e {end}; do sleep 0.1; done; echo chatter; echo alive >{mark}.new; mv {mark}.new {mark}"
    way = update(machine, hooks=Hooks(after=Hook(f"({daemon}) & echo started")))
    assert machine.deploy(way)[0].status == "changed"
    assert not mark.exists()
    end.touch()
    until(mark.exists)
    assert mark.read_text() == "alive\n"


def test_what_a_hostile_command_says_does_no_harm(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.plugins.transport._printed.MAX_OUTPUT", 100_000)
    forged = "updoser 1 outcomes\\nrules changed 2 - \\nend\\n"
    flood = "head -c 30000000 /dev/zero | tr '\\0' x; echo; yes nonsense | head -n 200000"
    run = f"{flood}; printf '{forged}'; printf '\\033[2J\\r\\000\\377last\\007'; exit 1"
    (outcome,) = machine.deploy(update(machine, staged(run)))
    assert outcome.status == "failed"
    assert outcome.message.isprintable()
    assert outcome.message.endswith("last?")
    assert len(outcome.message) < 500
    way = update(machine, staged("head -c 100000 /dev/zero | tr '\\0' x; exit 1"))
    assert len(machine.deploy(way)[0].message) < 500
    assert machine.leftovers() == []


def test_a_check_that_changes_the_files_it_looks_at_fails(machine: Machine) -> None:
    for run in ('echo evil >"$UPDOSER_STAGED/a"', 'touch "$UPDOSER_STAGED/more"', 'rm "$UPDOSER_STAGED/a"'):
        (outcome,) = machine.deploy(update(machine, staged(run)))
        assert (outcome.status, outcome.message) == ("failed", "a check changed the files that it was to look at")
        assert machine.current("rules")["a"] == b"one"
        assert not machine.facts(verify=True).installed[0].damage


def test_while_a_command_runs_the_client_says_that_it_is_there(dash: Machine, tmp_path: Path) -> None:
    slept = tmp_path / "slept"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sleep").write_text(
        f"#!/bin/sh\necho $1 >>{slept}\n[ $1 != 5 ] || exec /bin/sleep 0.1\nexec /bin/sleep $1\n"
    )
    (tmp_path / "bin/sleep").chmod(0o755)
    script = f"PATH={tmp_path}/bin:$PATH\n{client_script().decode()}"
    run = f"until [ $(grep -cx 5 {slept}) -ge 12 ]; do /bin/sleep 0.02; done; exit 1"
    data = request_bytes(dash, update(dash, switched(run, timeout=6000, retries=1, interval=21)))
    done = subprocess.run(["dash", "-c", script], input=data, capture_output=True, check=False, timeout=PATIENCE)
    assert done.stdout.startswith(b"updoser waits\nupdoser waits\n")
    assert b"\nupdoser 1 outcomes\nrules failed 1 " in done.stdout
    assert done.stdout.count(b"updoser waits") > 12


def test_a_pipe_is_patient_for_as_long_as_commands_may_take(dash: Machine) -> None:
    calls: list[dict[str, float]] = []
    local: Pipe = LocalPipe()

    class Noted:
        def run(self, command: str, stdin: Iterable[bytes], **limits: float) -> Completed:
            calls.append(limits)
            return local.run(command, stdin, **limits)

    dash.session = ShellSession(Noted(), deploy_timeout=1.5)
    way = update(
        dash, switched("sleep 3", timeout=60, retries=2, interval=7), hooks=Hooks(after=Hook("true", timeout=9))
    )
    assert dash.deploy(way)[0].status == "changed"
    assert calls[-1] == {"timeout": 1.5, "patience": patience(dash.request(way))}
    assert patience(dash.request(way)) >= 60 * 3 + 7 * 2 + 9 * 2
    assert patience(dash.request(replace(way, checks=(), hooks=Hooks()))) == 0


# --- going back -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["rename", "copy", "link"])
@pytest.mark.parametrize("keep", [1, 2])
def test_targets_go_back_with_a_check_that_fails(machine: Machine, method: InstallMethod, keep: int) -> None:
    target = machine.folder / "daemon"
    target.mkdir()
    (target / "x.old").write_text("old")
    layout = Layout((into(target, method),), ("*.old",))
    way = update(machine, switched("exit 1"), layout=Layout((into(target, method),)))
    way = replace(way, layout=layout)
    other = replace(
        step(None, machine.release("engine", "1", {"e": b"e"}), Layout((into(target),))), checks=(switched("true"),)
    )
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    first, second = machine.deploy(way, other, keep=keep)
    assert (first.status, first.version, second.status) == ("failed", "1", "changed")
    assert {path.name: path.read_bytes() for path in target.iterdir()} == {**before, "e": b"e"}
    rules = machine.facts(verify=True).by_component["rules"]
    assert (rules.version, rules.damage, rules.kept) == ("1", "", ())
    assert not (machine.root / "rules/2").exists()
    assert machine.leftovers() == []


def test_a_hook_that_comes_at_the_end_comes_even_where_nobody_listens_any_more(dash: Machine) -> None:
    log = dash.folder / "log"
    way = update(
        dash,
        switched("sleep 1"),
        hooks=Hooks(Hook(f"echo before >>{log}"), Hook("sleep 1"), Hook(f"echo always >>{log}")),
    )
    process = subprocess.Popen(
        ["dash", "-c", client_script().decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(request_bytes(dash, way))
        process.stdin.close()
        process.stdout.close()
        until(log.exists, process)
        process.send_signal(signal.SIGHUP)
    assert log.read_text() == "before\nalways\n"
    assert dash.current("rules")["a"] == b"two"
    assert dash.leftovers() == []


def test_where_a_switch_fails_what_was_begun_is_ended(machine: Machine) -> None:
    log, target = machine.folder / "log", machine.folder / "daemon"
    target.mkdir()
    layout = Layout((into(target),))
    hooks = Hooks(Hook(f"echo before >>{log}"), Hook(f"echo after >>{log}"), Hook(f"echo always >>{log}"))
    way = update(machine, layout=layout, hooks=hooks, files={"a": b"two", "b": b"in the way"})
    (target / "b").mkdir()
    assert machine.deploy(way)[0].status == "failed"
    assert log.read_text() == "before\nalways\n"
    assert machine.current("rules")["a"] == b"one"


def test_a_version_is_mended_between_the_hooks(machine: Machine) -> None:
    log = machine.folder / "log"
    release = machine.install("rules", "1", {"a": b"one"})
    file = machine.root / "rules/1/a"
    file.chmod(0o644)
    file.write_bytes(b"uno")
    shown = f"cat {file} >>{log}; echo >>{log}"
    way = replace(step(None, release), from_version="1", hooks=Hooks(Hook(f"{shown} #"), Hook(shown)))
    assert machine.deploy(way)[0].status == "changed"
    assert log.read_text() == "uno\none\n"


# --- versions that lie there ----------------------------------------------------------------------------------------


def held(machine: Machine) -> Step:
    """Give the way back from version 2 to version 1, over what lies on the client."""
    old = machine.install("rules", "1", {"a": b"one", "lpt$vpn.1": b"x"})
    new = machine.install("rules", "2", {"a": b"two"})
    return replace(step(new, old), held=True)


def test_a_damaged_version_is_never_gone_back_to(machine: Machine) -> None:
    way = held(machine)
    folder = machine.root / "rules/1"
    folder.chmod(0o755)
    secret = machine.folder / "secret"
    secret.write_bytes(b"one")

    def changed() -> None:
        (folder / "a").chmod(0o644)
        (folder / "a").write_bytes(b"uno")

    def linked() -> None:
        (folder / "a").unlink()
        (folder / "a").symlink_to(secret)

    for damage in (changed, linked, (folder / "a").unlink, lambda: shutil.rmtree(folder)):
        damage()
        (outcome,) = machine.deploy(way)
        assert (outcome.status, outcome.version) == ("unpatched", "2")
        assert machine.current("rules") == {"a": b"two"}
        assert machine.leftovers() == []
    assert machine.deploy(way.full)[0].status == "changed"


def test_a_version_that_is_held_gets_to_its_targets_and_loses_what_does_not_belong(machine: Machine) -> None:
    target = machine.folder / "daemon"
    target.mkdir()
    way = held(machine)
    (machine.root / "rules/1").chmod(0o755)
    (machine.root / "rules/1/more").write_bytes(b"more")
    assert machine.deploy(replace(way, layout=Layout((into(target),))))[0].status == "changed"
    assert machine.current("rules") == {"a": b"one", "lpt$vpn.1": b"x"}
    assert {path.name for path in target.iterdir()} == {"a", "lpt$vpn.1"}
    assert not machine.facts(verify=True).installed[0].damage


@pytest.mark.parametrize("shell", SHELLS)
def test_no_room_is_needed_for_what_lies_there(small_disk: Path, shell: str) -> None:
    machine = Machine(small_disk, shell)
    old = machine.install("rules", "1", {"a": os.urandom(500_000)})
    new = machine.install("rules", "2", {"a": os.urandom(500_000)})
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 80_000))
    assert machine.deploy(replace(step(new, old), held=True))[0].status == "changed"


def test_sending_again_what_lies_there_writes_nothing_and_mends_what_does_not(machine: Machine) -> None:
    old = machine.install("rules", "1", {"a": b"one"})
    new = machine.release("rules", "2", {"a": b"two"})
    assert ask(machine, step(old, new), "stage").status == "staged"
    before = machine.listing()
    assert ask(machine, step(old, new), "stage").status == "staged"
    assert machine.listing() == before
    file = machine.root / "rules/2/a"
    file.chmod(0o644)
    file.write_bytes(b"owt")
    assert ask(machine, step(old, new), "stage").status == "staged"
    assert file.read_bytes() == b"two"


def test_a_request_to_check_writes_nothing_that_stays(machine: Machine) -> None:
    log = machine.folder / "log"
    release = machine.install("rules", "1", {"a": b"one"})
    way = replace(step(release, release), checks=(switched(f"echo ran >>{log}"),))
    before = machine.listing()
    assert ask(machine, way, "check").status == "ok"
    after = machine.listing()
    assert log.read_text() == "ran\n"
    own = str(machine.root / ".updoser")
    assert {path: info for path, info in after.items() if path != own} == {
        path: info for path, info in before.items() if path != own
    }


# --- killed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "staged", "after", "switched", "always"])
def test_a_run_that_is_killed_before_its_checks_are_through_is_noticed(machine: Machine, when: str) -> None:
    log = machine.folder / "log"

    def run(kind: str) -> str:
        return f"echo {kind} >>{log}; " + ("kill -9 $PPID; sleep 0.2" if kind == when else "true")

    hooks = Hooks(*(Hook(run(kind), timeout=2) for kind in ("before", "after", "always")))
    checks = staged(run("staged"), timeout=2), switched(run("switched"), timeout=2)
    way = update(machine, *checks, hooks=hooks)
    raw(machine, request_bytes(machine, way))
    assert log.read_text().splitlines()[-1] == when
    (entry,) = machine.facts(verify=True).installed
    if when in {"staged", "before"}:
        assert (entry.version, entry.damage) == ("1", "")
    elif when == "always":
        assert (entry.version, entry.damage) == ("2", "")
    else:
        assert (entry.version, entry.digest, entry.damage) == ("2", "", "its checks were not finished")
    when = ""
    again = replace(way, from_version=entry.version, from_digest=entry.digest)
    hooks = Hooks(Hook(run("before")), Hook(run("after")))
    again = replace(again, checks=(switched(run("switched")),), hooks=hooks)
    log.write_text("")
    assert machine.deploy(again)[0].status == ("ok" if entry.digest == way.to_digest else "changed")
    assert log.read_text().split() == ([] if entry.digest == way.to_digest else ["before", "after", "switched"])
    assert not machine.facts(verify=True).installed[0].damage
    assert machine.current("rules")["a"] == b"two"
    assert machine.leftovers() == []


def test_the_mark_of_a_version_is_on_the_disk_before_it_is_switched_to(
    dash: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, log = dash.folder / "tools", dash.folder / "synced"
    tools.mkdir()
    way = update(dash, switched("true"))
    (tools / "sync").write_text(f'#!/bin/sh\necho "$(readlink {dash.root}/rules/current) $*" >>{log}\n')
    (tools / "sync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    assert dash.deploy(way)[0].status == "changed"
    before = [line for line in log.read_text().splitlines() if line.startswith("1 ")]
    assert any(f"{dash.root}/.updoser/unchecked/rules" in line.split() for line in before)


def test_the_way_back_from_a_version_that_nobody_checked_leaves_no_mark(machine: Machine) -> None:
    way = update(machine, switched("kill -9 $PPID", timeout=1))
    raw(machine, request_bytes(machine, way))
    back = replace(way, from_version="2", from_digest="", to_version="1", to_digest=way.from_digest, checks=())
    old = machine.release("rules", "1", {"a": b"one", "lpt$vpn.1": b"x"})
    assert machine.deploy(replace(back, files=old.files, held=True))[0].status == "changed"
    assert machine.leftovers() == []
    (entry,) = machine.facts().installed
    assert (entry.version, entry.damage, entry.kept) == ("1", "", (("2", way.to_digest),))


def test_a_version_that_nobody_checked_stays_so_when_the_next_one_goes_back_to_it(machine: Machine) -> None:
    way = update(machine, switched("kill -9 $PPID", timeout=1))
    raw(machine, request_bytes(machine, way))
    third = machine.release("rules", "3", {"a": b"three"})
    further = replace(step(None, third), from_version="2", checks=(switched("exit 1"),))
    (outcome,) = machine.deploy(further)
    assert (outcome.status, outcome.version, outcome.digest) == ("failed", "2", "")
    assert machine.facts().installed[0].damage == "its checks were not finished"


KILLERS = ["mkdir", "sync", "mv", "ln", "rm", "mkfifo", "rmdir", "chmod", "cp", "stat"]


@pytest.mark.explore
@pytest.mark.parametrize("good", [True, False])
def test_killed_at_any_moment_no_version_is_believed_that_was_not_checked(tmp_path: Path, good: bool) -> None:
    """Each tool is a trap; where the check is bad, version 2 is never whole in the eyes of a look."""
    traps = tmp_path / "traps"
    traps.mkdir()
    for name in KILLERS:
        (traps / name).write_text(
            f"#!/bin/sh\nn=$(cat {tmp_path}/count); n=$((n - 1)); echo $n >{tmp_path}/count\n"
            f'[ $n -ne 0 ] || kill -9 $TRAP_PID\nexec {shutil.which(name)} "$@"\n'
        )
        (traps / name).chmod(0o755)
    target = tmp_path / "daemon"
    target.mkdir()
    layout = Layout((into(target),))
    machine = Machine(tmp_path)
    checked = tmp_path / "checked"

    def killed(at: int, _way: str) -> bool:
        shutil.rmtree(machine.root, ignore_errors=True)
        checked.unlink(missing_ok=True)
        run = f"echo x >{checked}" if good else "exit 1"
        way = update(machine, switched(run), layout=layout, files={"a": b"two", "lpt$vpn.1": b"y"})
        (tmp_path / "count").write_text(f"{at}\n")
        script = f"TRAP_PID=$$ PATH={traps}:$PATH; export TRAP_PID PATH\n{client_script().decode()}"
        done = subprocess.run(
            ["dash", "-c", script],
            input=request_bytes(machine, way),
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
        (entry,) = machine.facts(verify=True).installed
        if entry.version == "2" and entry.digest:
            assert good, at
            assert checked.exists(), at
        assert machine.current("rules")["a"] in {b"one", b"two"}
        again = replace(way, from_version=entry.version, from_digest=entry.digest, checks=(switched("true"),))
        assert machine.deploy(again)[0].status in {"changed", "ok"}, at
        assert not machine.facts(verify=True).installed[0].damage
        assert machine.leftovers() == []
        assert (target / "a").read_bytes() == b"two"
        return done.returncode != 0

    assert kill_at_any_moment(killed, tmp_path / "count", 8) > 15


# --- the header and reading -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        ["check early 0 60 0 5 x", "sh true"],
        ["check staged -1 60 0 5 x", "sh true"],
        ["check staged 0 0 0 5 x", "sh true"],
        ["check staged 0 60 0 5", "sh true"],
        ["check staged 0 60 0 5 x"],
        ["check staged 0 60 0 5 x", "hook before 60 keep", "sh true"],
        ["hook during 60 keep", "sh true"],
        ["hook before 60 maybe", "sh true"],
        ["hook before $(id) keep", "sh true"],
        ["sh true"],
        ["check staged 0 60 0 5 x", "sh a\x1bb"],
        ["check staged 0 60 0 5 x\x07", "sh true"],
        ["purpose destroy"],
        ["var a-b x"],
        ["var $(id) x"],
        ["var A x\x01"],
    ],
)
@pytest.mark.each_shell
def test_a_header_with_odd_commands_is_refused_whole(machine: Machine, lines: list[str]) -> None:
    head = ["root " + str(machine.root), "keep 2", "controller a 1", f"step good - - 1 {'0' * 64} l"]
    header = "\n".join([*head, *lines, "end", ""]).encode()
    done = raw(machine, b"updoser 1 deploy %d\n%sgo\n" % (len(header), header))
    assert done.stdout.startswith(b"updoser 1 error\nprotocol "), done.stdout
    assert not machine.root.exists()


@pytest.mark.parametrize("run", ["a\x00b", "a\rb", "\x1b[2J", "", " \n ", "x" * 70_000])
def test_a_command_that_a_client_would_refuse_is_not_sent(dash: Machine, run: str) -> None:
    way = replace(step(None, dash.release("rules", "1", {"a": b"one"})), checks=(staged(run),))
    with pytest.raises(ClientError):
        b"".join(deploy_request(dash.request(way), dash.open))
    with pytest.raises(ClientError):
        dash.deploy(way)
    assert not dash.root.exists()


def test_a_header_without_commands_names_nothing_new(dash: Machine) -> None:
    """A fixed copy of an older script that sudoers allow goes on serving."""
    release = dash.release("rules", "1", {"a": b"one"})
    request = replace(dash.request(step(None, release)), vars={"site": "berlin"})
    header = b"".join(deploy_request(request, dash.open)).split(b"end\n")[0]
    assert {line.split(b" ")[0] for line in header.splitlines()} == {
        b"updoser", b"root", b"keep", b"controller", b"step", b"file",
    }  # fmt: skip


def test_only_plain_files_and_our_own_links_are_shown(machine: Machine) -> None:
    target = machine.folder / "daemon"
    target.mkdir()
    machine.install("rules", "1", {"a": b"one\n", "lpt$vpn.1": bytes(range(256))}, Layout((into(target, "link"),)))
    secret = machine.folder / "secret"
    secret.write_text("secret")
    (target / "evil").symlink_to(secret)
    (target / "sly").symlink_to(f"{machine.root}/rules/current/../../../secret")
    os.mkfifo(target / "pipe")
    names = ["a", "lpt$vpn.1", "evil", "sly", "pipe", "missing", ""]
    found = machine.session.read(str(machine.root), [f"{target}/{name}".rstrip("/") for name in names])
    assert list(found.values()) == [b"one\n", bytes(range(256)), None, None, None, None, None]
    before = machine.listing()
    machine.session.read(str(machine.root), [f"{target}/a"])
    assert machine.listing() == before


def test_files_of_a_client_that_nobody_changed_yet_can_be_read_too(machine: Machine) -> None:
    (machine.folder / "a").write_bytes(b"there")
    path = f"{machine.folder}/a"
    assert machine.session.read(str(machine.root), [path]) == {path: b"there"}
    assert not machine.root.exists()
