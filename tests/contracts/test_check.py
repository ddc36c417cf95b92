"""What every check promises: an answer, whatever happens, and a command for clients or a word that it has none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from reconciler import programs
from reconciler.contracts import Check, CheckResult, Subject
from reconciler.plugins.check import command
from tests.fakes import fake_context, make_plugin
from tests.waiting import PATIENCE, late_once, until

if TYPE_CHECKING:
    from collections.abc import Callable

SUBJECT = Subject("rules", "3", "/staged/rules/3", "pc-1", "192.0.2.1", {"site": "berlin", "a.b-c": "x"})
NAMES = ("COMPONENT", "VERSION", "STAGED", "CLIENT", "ADDRESS", "VAR_SITE", "VAR_A_B_C")


@dataclass
class FakeCheck:
    """A check that is good or not as the test says, and remembers what it was asked about."""

    good: bool = True
    delay: float = 0.0
    asked: list[Subject] = field(default_factory=list)

    def on_client(self) -> tuple[str, int]:
        return f"exit {0 if self.good else 1}", 0

    def on_server(self, subject: Subject, *, timeout: float, stop: Event) -> CheckResult:
        self.asked.append(subject)
        if stop.wait(min(self.delay, timeout)):
            return CheckResult(good=False, message="it was stopped")
        if self.delay > timeout:
            return CheckResult(good=False, message=f"it wasn't done after {timeout:g} s")
        return CheckResult(self.good, "as the test says")


def a_command(tmp_path: Path, run: str | list[str], **options: Any) -> Check:
    made: Check = make_plugin(command, {"run": run, "expect_exit": 0, **options}, fake_context(tmp_path))
    return made


def program(tmp_path: Path, code: str, **options: Any) -> Check:
    return a_command(tmp_path, [sys.executable, "-c", code], **options)


def ask(
    check: Check, *, timeout: float = PATIENCE, stop: Event | None = None, subject: Subject = SUBJECT
) -> CheckResult:
    return check.on_server(subject, timeout=timeout, stop=stop or Event())


GOOD: dict[str, Callable[[Path], Check]] = {
    "text": lambda path: a_command(path, "echo fine\nexit 0"),
    "list": lambda path: program(path, "print('fine')"),
    "status": lambda path: a_command(path, "exit 3", expect_exit=3),
    "a reader that left": lambda path: a_command(path, "(while :; do echo fine; done) | head -1"),
    "fake": lambda _path: FakeCheck(),
}
BAD: dict[str, Callable[[Path], Check]] = {
    "text": lambda path: a_command(path, "echo no >&2; exit 4"),
    "list": lambda path: program(path, "raise SystemExit(4)"),
    "status": lambda path: a_command(path, "exit 0", expect_exit=1),
    "signal": lambda path: a_command(path, "kill -9 $$"),
    "no program": lambda path: a_command(path, ["no-such-program"]),
    "no command": lambda path: a_command(path, "no-such-program"),
    "no folder": lambda path: make_plugin(command, {"run": "exit 0"}, fake_context(path)),
    "fake": lambda _path: FakeCheck(good=False),
}
SLOW: dict[str, Callable[[Path], Check]] = {
    "text": lambda path: a_command(path, "sleep 60"),
    "list": lambda path: a_command(path, ["sleep", "60"]),
    "endless": lambda path: a_command(path, "while :; do echo x; done"),
    "silent": lambda path: a_command(path, "exec >&- 2>&-; sleep 60"),
    "fake": lambda _path: FakeCheck(delay=60),
}


@pytest.mark.parametrize("kind", GOOD)
def test_what_holds_is_good_on_the_server_and_on_a_client(kind: str, tmp_path: Path) -> None:
    check = GOOD[kind](tmp_path)
    assert isinstance(check, Check)
    assert ask(check).good
    text, expected = check.on_client()
    assert subprocess.run(["sh", "-c", text], check=False, capture_output=True).returncode == expected


@pytest.mark.parametrize("kind", BAD)
def test_what_does_not_hold_or_cannot_be_found_out_is_not_good_and_says_why(kind: str, tmp_path: Path) -> None:
    check = BAD[kind](tmp_path)
    if kind == "no folder":
        (tmp_path / "work").rmdir()
        tmp_path.rmdir()
    finding = ask(check)
    assert not finding.good
    assert finding.message


@pytest.mark.parametrize("kind", SLOW)
def test_a_check_that_takes_too_long_is_not_good(kind: str, tmp_path: Path) -> None:
    finding = ask(SLOW[kind](tmp_path), timeout=0.3)
    assert not finding.good
    assert "wasn't done after 0.3 s" in finding.message


@pytest.mark.parametrize("kind", SLOW)
def test_a_check_ends_when_it_is_to_stop(kind: str, tmp_path: Path) -> None:
    stop = Event()
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    finding = ask(SLOW[kind](tmp_path), timeout=60, stop=stop)
    timer.join()
    assert not finding.good
    assert "stopped" in finding.message


def test_the_command_gets_what_it_is_about_in_its_environment_and_nothing_to_read(tmp_path: Path) -> None:
    shown = " ".join(f'"$UPDOSER_{name}"' for name in NAMES)
    finding = ask(a_command(tmp_path, f"cat; pwd; printf '%s|' {shown}"))
    assert finding == CheckResult(good=True, message="rules|3|/staged/rules/3|pc-1|192.0.2.1|berlin|x|")
    assert ask(a_command(tmp_path, "pwd")).message == str(tmp_path)
    assert ask(a_command(tmp_path, 'test "$UPDOSER_CLIENT" = ""'), subject=Subject("rules", "3")).good


def test_the_command_does_not_read_what_updoser_is_given_to_read(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"secret\n")
    before = os.dup(0)
    os.dup2(ours, 0)
    try:
        assert ask(a_command(tmp_path, "head -n 1")) == CheckResult(good=True)
    finally:
        os.dup2(before, 0)
        for descriptor in (ours, theirs, before):
            os.close(descriptor)


def test_what_is_in_the_environment_is_never_a_part_of_the_command(tmp_path: Path) -> None:
    subject = Subject("rules", "3", vars={"site": "$(touch owned); touch owned"})
    assert ask(a_command(tmp_path, "echo $UPDOSER_VAR_SITE"), subject=subject).good
    assert not (tmp_path / "owned").exists()


def test_a_program_of_the_folder_of_the_spec_is_found_by_its_relative_path(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/good").write_text("#!/bin/sh\n[ \"$1\" = 'a b' ]\n")
    (tmp_path / "bin/good").chmod(0o755)
    check = a_command(tmp_path, ["bin/good", "a b"])
    assert ask(check).good
    assert check.on_client()[0] == "bin/good 'a b'"


def test_the_last_line_is_shown_without_control_characters(tmp_path: Path) -> None:
    finding = ask(a_command(tmp_path, r"echo first; printf 'a\033[31mb\n\n'; exit 7", expect_exit=1))
    assert finding == CheckResult(good=False, message="it exited with 7 instead of 1: a?[31mb")


def test_of_what_is_printed_only_the_end_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "MAX_OUTPUT", 1000)
    assert ask(program(tmp_path, "print('x' * 300_000); print('end')")).message == "end"
    assert len(ask(program(tmp_path, "print('x' * 300_000)")).message) == command.MAX_SHOWN
    monkeypatch.setattr(command, "MAX_OUTPUT", 10)
    assert ask(a_command(tmp_path, "printf abcdefghijklmnopqrst")).message == "klmnopqrst"


def test_what_a_command_started_ends_with_it_when_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_once((tmp_path / "child").exists, monkeypatch, programs)
    ask(a_command(tmp_path, "sleep 61 & echo $! > new; mv new child; wait"), timeout=0.5)
    child = int((tmp_path / "child").read_text())
    until(lambda: not alive(child))


def test_a_command_that_leaves_something_running_is_over_when_it_is(tmp_path: Path) -> None:
    finding = ask(a_command(tmp_path, "echo $$ > group; sleep 60 & echo fine"))
    os.killpg(int((tmp_path / "group").read_text()), 9)
    assert finding == CheckResult(good=True, message="fine")


def test_a_stop_from_before_lets_nothing_begin(tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    assert not ask(a_command(tmp_path, "touch begun"), stop=stop).good
    assert not (tmp_path / "begun").exists()


def test_a_var_that_no_environment_can_hold_is_not_good_and_no_crash(tmp_path: Path) -> None:
    finding = ask(a_command(tmp_path, "exit 0"), subject=Subject("rules", "3", vars={"x": "a\0b"}))
    assert not finding.good
    assert "can't be started" in finding.message


def test_its_options_are_a_schema_that_describes_every_one_of_them() -> None:
    Draft202012Validator.check_schema(command.OPTIONS)
    assert command.OPTIONS["additionalProperties"] is False
    assert all(option["description"] for option in (command.OPTIONS, *command.OPTIONS["properties"].values()))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False
