"""Output that can't be written: the fleet is updated all the same, what is lost is said once, and never with 0."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.storage.state import State
from tests.fakes import NOW
from tests.fleet import ROOT, Fleet
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

NAME = "rechner-grün-☃-𝄞"
SAID = "warning: {} can't be written: {}; what is missing there is lost"
OUT, ERR = "standard output", "standard error"
WHY = {"full": "No space left on device", "closed": "it is closed", "broken": "Broken pipe"}


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    made = Fleet(tmp_path, clients=1)
    made.release("rules", "1", rules_txt=b"one\n")
    return made


def _lost(way: str) -> int:
    """Open what nothing can be written to: `full`, or `broken`."""
    if way == "full":
        return os.open("/dev/full", os.O_WRONLY)
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def start(
    fleet: Fleet, *arguments: str, out: str = "pipe", err: str = "pipe", **environment: str
) -> subprocess.Popen[bytes]:
    """Start a command whose streams may be `full`, `closed` or `broken`."""
    wanted: dict[int, int | None] = {}
    closed, opened = [], []
    for number, way in ((1, out), (2, err)):
        if way == "pipe":
            wanted[number] = subprocess.PIPE
        elif way == "closed":
            closed.append(f"{number}>&-")
            wanted[number] = None
        else:
            wanted[number] = lost = _lost(way)
            opened.append(lost)
    shell = f'exec "$@" {" ".join(closed)}'
    process = subprocess.Popen(
        ["sh", "-c", shell, "sh", sys.executable, "-m", "reconciler", *arguments],
        cwd=fleet.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        stdout=wanted[1],
        stderr=wanted[2],
    )
    for number in opened:
        os.close(number)
    return process


def run(fleet: Fleet, *arguments: str, **options: str) -> tuple[int, str, str]:
    """Run a command to its end; give its exit code and what it wrote. It starts anew where its streams are odd."""
    if not options:
        done = fleet.run(*arguments)
        return done.code, done.out, done.err
    process = start(fleet, *arguments, **options)
    out, err = ((text or b"").decode() for text in process.communicate(timeout=300))
    for text in (out, err):
        assert "Traceback" not in text
        assert "fault of updoser" not in text
        assert "Exception ignored" not in text
    return process.returncode, out, err


def assert_done(fleet: Fleet, status: str = "done") -> None:
    """Hold that the fleet was updated, that the history has it, and that no lock was left."""
    assert fleet.current("c1", "rules") == {"rules.txt": b"one\n"}
    with State.open(f"sqlite:///{fleet.folder}/state.db", clock=lambda: NOW) as state:
        (run,) = state.runs(5)
        assert run.status == status
        assert [entry.outcome for entry in state.journal_of(run.run_id) if entry.client] == ["changed"]
        with state.lock("test"):
            pass


# --- streams --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WHY)
def test_an_apply_without_standard_output_is_done_and_says_so_once(fleet: Fleet, way: str) -> None:
    code, _out, err = run(fleet, "apply", "--auto-approve", out=way)
    assert code == 1
    assert err.count(SAID.format(OUT, WHY[way])) == err.count("warning:") == 1
    assert_done(fleet)


@pytest.mark.parametrize("way", WHY)
def test_an_apply_without_standard_error_is_done_and_says_so_behind_its_result(fleet: Fleet, way: str) -> None:
    code, out, _err = run(fleet, "apply", "--auto-approve", err=way)
    assert code == 1
    assert out.splitlines()[-1] == SAID.format(ERR, WHY[way])
    assert out.count("warning:") == 1
    assert "1 download" in out
    assert_done(fleet)


@pytest.mark.parametrize(("out", "err"), [("closed", "closed"), ("full", "broken")])
def test_an_apply_that_nobody_hears_is_done_and_its_exit_code_tells(fleet: Fleet, out: str, err: str) -> None:
    assert run(fleet, "apply", "--auto-approve", out=out, err=err)[0] == 1
    assert_done(fleet)


@pytest.mark.parametrize(("command", "way"), [("plan", "full"), ("plan", "broken"), ("status", "closed")])
def test_a_document_that_is_cut_off_never_ends_well(fleet: Fleet, command: str, way: str) -> None:
    code, _out, err = run(fleet, command, "--no-refresh", "--format", "json", out=way)
    assert code == 1
    assert SAID.format(OUT, WHY[way]) in err


def test_a_lost_plan_is_no_plan_of_which_changes_are_due(fleet: Fleet) -> None:
    assert run(fleet, "plan", "--detailed-exitcode", out="full")[0] == 1


def test_json_stays_alone_on_standard_output_when_standard_error_is_lost(fleet: Fleet) -> None:
    code, out, _err = run(fleet, "plan", "--format", "json", "--events", "/dev/full", err="full")
    assert code == 1
    assert json.loads(out)["summary"]["deploy"]["clients"] == 1


def test_a_bad_exit_code_stays_what_it_is(fleet: Fleet) -> None:
    fleet.write(groups={**fleet.spec["groups"], "bad name!": {}})
    assert run(fleet, "plan", out="full", err="full")[0] == 65
    assert run(fleet, "nonsense", out="closed", err="closed")[0] == 64


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_that_nobody_reads_to_its_end_is_quiet_and_help_that_is_lost_is_not(fleet: Fleet, option: str) -> None:
    assert run(fleet, option, out="broken") == (0, "", "")
    for way in ("full", "closed"):
        code, _out, err = run(fleet, option, out=way)
        assert (code, err) == (1, SAID.format(OUT, WHY[way]) + "\n")


def test_characters_that_a_terminal_does_not_know_are_escaped_so_that_json_says_the_same(fleet: Fleet) -> None:
    fleet.write(hold=[{"clients": "c1", "reason": NAME}])
    code, out, _err = run(fleet, "plan", "--format", "json", PYTHONIOENCODING="ascii:strict")
    assert code == 0
    assert out.isascii()
    assert json.loads(out)["held"][0]["reason"].endswith(NAME)


# --- events ---------------------------------------------------------------------------------------------------------


def whole_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_events_on_a_full_disk_end_at_a_whole_line_and_the_run_goes_on(fleet: Fleet, small_disk: Path) -> None:
    events, filler = small_disk / "events", small_disk / "filler"
    line = json.dumps({"type": "x" * 80}) + "\n"
    events.write_text(line * 39)  # a page of the disk has room for some more bytes, and then none
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    code, _out, err = run(fleet, "apply", "--auto-approve", "--events", str(events))
    assert code == 1
    assert err.count(SAID.format(f"the events in {events}", WHY["full"])) == err.count("warning:") == 1
    assert len(whole_lines(events)) >= 39
    assert_done(fleet)
    filler.unlink()
    assert run(fleet, "plan", "--events", str(events))[0] == 0
    assert whole_lines(events)[-1]["type"] == "client_observed"


def test_events_for_a_fifo_that_nobody_reads_are_lost_and_the_run_goes_on(fleet: Fleet) -> None:
    os.mkfifo(fleet.folder / "fifo")
    code, _out, err = run(fleet, "apply", "--auto-approve", "--events", "fifo")
    assert code == 1
    assert err.count("warning: the events in fifo can't be written: nobody reads from it") == 1
    assert stat.S_ISFIFO((fleet.folder / "fifo").stat().st_mode)
    assert_done(fleet)


@pytest.fixture
def held(fleet: Fleet) -> Fleet:
    """Give a fleet whose client, in the midst of its update, makes `here` and waits for `go`."""
    hook = f"touch {fleet.folder}/here; until test -e {fleet.folder}/go; do sleep 0.05; done"
    fleet.write(components={"rules": {"hooks": {"before": {"run": hook, "timeout": "4m"}}}})
    return fleet


def test_a_reader_of_events_that_dies_costs_the_events_that_follow_only(held: Fleet) -> None:
    fifo = held.folder / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    process = start(held, "apply", "--auto-approve", "--events", "fifo")
    until((held.folder / "here").exists, process)
    seen = [json.loads(line)["type"] for line in os.read(reader, 65536).splitlines()]
    os.close(reader)
    (held.folder / "go").touch()
    _out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert seen[-1] == "deploy_started"
    assert err.decode().count(SAID.format("the events in fifo", WHY["broken"])) == 1
    assert_done(held)


@pytest.mark.parametrize(("path", "why"), [(".", "it is a folder"), ("nowhere/events", "No such file or directory")])
def test_a_path_that_can_be_no_file_is_refused_before_anything_is_done(fleet: Fleet, path: str, why: str) -> None:
    code, _out, err = run(fleet, "apply", "--auto-approve", "--events", path)
    assert (code, err) == (1, f"Error: {path} can't be written: {why}\n")
    assert not (fleet.folder / "clients").exists()


# --- the terminal ---------------------------------------------------------------------------------------------------


def test_a_terminal_that_goes_away_ends_a_run_as_ctrl_c_does(held: Fleet) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-m", "reconciler", "apply", "--auto-approve"],
        cwd=held.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    until((held.folder / "here").exists, process)
    os.close(master)
    (held.folder / "go").touch()
    assert process.wait(300) == 130
    assert_done(held, "interrupted")


# --- plan --out -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["/dev/stdout", "fifo"])
def test_a_plan_can_be_handed_on_without_a_file(fleet: Fleet, way: str) -> None:
    out = fleet.folder / "fifo"
    if way == "fifo":
        os.mkfifo(out)
        reader = os.open(out, os.O_RDONLY | os.O_NONBLOCK)
    code, shown, err = run(fleet, "plan", "--out", way, out="pipe")
    assert code == 0, err
    if way == "fifo":
        document = os.read(reader, 65536).decode()
        os.close(reader)
        assert stat.S_ISFIFO(out.stat().st_mode)
    else:
        (document,) = [line for line in shown.splitlines() if line.startswith("{")]
    (fleet.folder / "plan").write_text(document.rstrip("\n") + "\n", encoding="utf-8")
    assert run(fleet, "apply", "plan")[0] == 0
    assert_done(fleet)


def test_a_linked_file_of_the_fleet_stays_a_link_when_a_version_is_rolled_back(fleet: Fleet) -> None:
    (fleet.folder / "repo").mkdir()
    real = fleet.folder / "repo" / "fleet.yaml"
    (fleet.folder / "updoser.yaml").rename(real)
    (fleet.folder / "updoser.yaml").symlink_to("repo/fleet.yaml")
    real.chmod(0o664)
    assert run(fleet, "apply", "--auto-approve")[0] == 0
    fleet.release("rules", "2", rules_txt=b"two\n")
    code, _out, err = run(fleet, "rollback", "rules", "--to", "1", "--auto-approve")
    assert code == 0, err
    assert (fleet.folder / "updoser.yaml").is_symlink()
    assert "version: '1'" in real.read_text() or 'version: "1"' in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o664
