"""What others wrote moves no cursor and turns no line around, whichever error, warning or question it stands in."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from reconciler.cli import run
from reconciler.present.terminal import Log, Terminal

if TYPE_CHECKING:
    from pathlib import Path
HOSTILE = "x\x1b[2J\x07\x9b31m\u202eb\u2028\u200f\udcff"
SPEC: dict[str, Any] = {
    "version": 1,
    "catalogs": ["officescan"],
    "sources": [{"name": "drop", "type": "directory", "path": "upstream"}],
    "components": {"virus-pattern": {}},
    "groups": {"g": {"transport": {"type": "local"}, "install_root": "clients", "clients": [{"name": "c1"}]}},
}
IN_SPECS: dict[str, dict[str, Any]] = {
    "a key": {HOSTILE: 1},
    "a value": {"components": {"virus-pattern": {"version": HOSTILE}}},
    "a component": {"components": {HOSTILE: {}}},
    "a client": {"groups": {"g": {**SPEC["groups"]["g"], "clients": [{"name": HOSTILE}]}}},
    "a plugin": {"sources": [{"name": "drop", "type": HOSTILE}]},
    "a path": {"sources": [{"name": "drop", "type": "directory", "path": f"/{HOSTILE}"}]},
    "a template": {"server": {"store": "{{ " + HOSTILE + " }}"}},
    "a template's value": {"vars": {"a": HOSTILE}, "version": "{{ a }}"},
    "a time zone": {"auto_update": {"windows": [{"from": "01:00", "to": "02:00", "timezone": HOSTILE}]}},
    "a version": {"required_version": HOSTILE},
    "another file": {"extends": HOSTILE},
    "a secret": {"proxies": {"p": {"url": "http://p:1", "username": "a", "password": {"env": HOSTILE}}}},
    "a hold": {"hold": [{"clients": HOSTILE, "reason": HOSTILE, "until": HOSTILE}]},
}
ARGUMENTS = {
    "an option": ["plan", f"--{HOSTILE}"],
    "a command": [HOSTILE],
    "a choice": ["plan", "--format", HOSTILE],
    "a file": ["plan", "-f", HOSTILE],
    "a plan file": ["apply", HOSTILE],
    "a document": ["show", HOSTILE],
    "a limit": ["plan", "--limit", HOSTILE],
    "a target": ["plan", "--target", HOSTILE],
    "a variable": ["plan", "-e", HOSTILE],
    "variables of a file": ["plan", "-e", f"@{HOSTILE}"],
    "a place in the file": ["validate", "--effective", HOSTILE],
    "events": ["plan", "--events", f"{HOSTILE}/{HOSTILE}"],
    "a release": ["release", "add", HOSTILE, HOSTILE, HOSTILE, "--to", HOSTILE],
    "a rollout": ["rollout", "pause", HOSTILE, "--version", HOSTILE],
    "an inventory": ["init", "-f", "new.yaml", "--inventory", f"./{HOSTILE}"],
    "a catalog": ["init", "-f", "new.yaml", "--from", HOSTILE],
    "a lock": ["unlock", HOSTILE],
    "a key": ["plan", "--out", "plan.json", "--sign", HOSTILE],
}


def hidden(text: str) -> set[str]:
    """Give the characters of a text that move a cursor, or hide."""
    return {char for char in text if not (char.isprintable() or char in "\n\t")}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "upstream").mkdir()
    return tmp_path


def write(folder: Path, **changes: Any) -> None:
    (folder / "updoser.yaml").write_text(yaml.safe_dump({**SPEC, **changes}))


@pytest.mark.parametrize("what", IN_SPECS)
def test_what_a_spec_says_moves_no_cursor_in_an_error(
    what: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, **IN_SPECS[what])
    code = run(["validate"], Terminal())
    shown = capsys.readouterr()
    assert code in {1, 65}
    assert not hidden(shown.err + shown.out), shown


@pytest.mark.parametrize("what", ARGUMENTS)
def test_what_a_command_line_says_moves_no_cursor_in_an_error(
    what: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder)
    code = run(ARGUMENTS[what], Terminal())
    shown = capsys.readouterr()
    assert code not in {0, 2}
    assert shown.err
    assert not hidden(shown.err + shown.out), shown


def test_notes_warnings_and_questions_move_no_cursor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    terminal.mask = lambda text: text.replace("secret", "***")
    terminal.note(f"{HOSTILE} secret")
    log = logging.getLogger("updoser.source.theirs")
    monkeypatch.setattr(log, "propagate", False)
    monkeypatch.setattr(log, "handlers", [Log(terminal)])
    log.warning("%s is passed over: %s", "secret", HOSTILE)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    terminal.ask(f"{HOSTILE} secret? ")
    shown = capsys.readouterr().err
    assert not hidden(shown)
    assert shown.count("***") == 3
    assert "secret" not in shown
