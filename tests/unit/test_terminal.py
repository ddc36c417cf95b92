"""Where commands write: results apart from all else, progress as lines, events as JSON, secrets nowhere."""

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler import cli
from reconciler.commands import status
from reconciler.model.events import ClientObserved, Event, LookStarted, Trouble
from reconciler.model.plan import Basis, Plan
from reconciler.model.provenance import Provenance
from reconciler.model.work_events import (
    EVENT_TYPES,
    EVENTS,
    ClientFinished,
    DownloadProgress,
    RolloutMoved,
    RunFinished,
    RunStarted,
)
from reconciler.present.document import plan_document
from reconciler.present.event_log import EventLog
from reconciler.present.look import PLAIN, Look
from reconciler.present.reading import read_plan
from reconciler.present.render import FORMATS, render
from reconciler.present.terminal import Log, LogStyle, Terminal
from reconciler.present.views import PLAN
from reconciler.specfile.secrets import MASK, Masker
from reconciler.storage.eventfile import event_file
from tests.fakes import NOW

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "schema" / "events.schema.json").read_text(encoding="utf-8"))
BASIS = Basis("l", 1, 0, "s", "c")
ODD_SECRETS = ("plain-secret", 'quo"xyz\\back', "pässwörd", "first\nsecond", "tab\tchar\x7f", "star*pipe|@mark<>")


def log_to(terminal: Any, **options: Any) -> Any:
    return EventLog("run-1", lambda: NOW, terminal, **options)


@contextmanager
def appending(log: Any, terminal: Any, file: Any) -> Iterator[Any]:
    """Append the events of a log to a file."""
    with event_file(file, terminal.lose) as append, log.to(append):
        yield


def sample(kind: Any, message: Any) -> Any:
    """Make an event of a class, with something in each of its fields."""
    own = [field for field in fields(kind) if field.name not in {field.name for field in fields(Event)}]
    return kind(message, **{field.name: 1 if "int" in field.type else "a" for field in own})


def secretive(secret: Any) -> Any:
    masker = Masker()
    masker.add(secret)
    return Terminal(masker.mask)


def events(file: Any) -> Any:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_results_and_everything_else_go_separate_ways(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.result("result\n")
    terminal.note("note")
    assert capsys.readouterr() == ("result\n", "note\n")


def test_a_question_is_asked_beside_the_result(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("  yes \nmore\n"))
    assert Terminal().ask("sure? ") == "yes"
    assert Terminal().ask("sure? ") == "more"
    assert Terminal().ask("sure? ") == ""
    assert capsys.readouterr() == ("", "sure? " * 3)


def test_each_event_is_a_line_that_fits_its_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal, file = Terminal(), tmp_path / "events"
    log = log_to(terminal)
    for _run in range(2):
        with appending(log, terminal, file):
            for kind in EVENTS:
                log(sample(kind, "a message\nof two lines"))
    written = events(file)
    assert [entry["type"] for entry in written] == [*EVENT_TYPES] * 2
    for entry in written:
        Draft202012Validator({**SCHEMA, "additionalProperties": False}).validate(entry)
    assert written[EVENTS.index(ClientFinished)] == {
        "time": "2026-11-24T12:00:00Z",
        "run_id": "run-1",
        "type": "client_finished",
        "level": "info",
        "message": "a message\nof two lines",
        "client": "a",
        "outcome": "a",
        "bytes": 1,
    }
    assert capsys.readouterr().out == ""


def test_a_line_has_what_is_particular_to_its_type_in_order_and_leaves_out_what_isn_t_said(tmp_path: Path) -> None:
    terminal, file = Terminal(), tmp_path / "events"
    log = log_to(terminal)
    with appending(log, terminal, file):
        log(Trouble("odd", component="rules"))
        log(Trouble("broken", level="error"))
        log(DownloadProgress("begun", bytes=0, total=9, rate=0, seconds_left=None))
        log(RolloutMoved("on", component="rules", version="7", group="", status="running", wave=1))
    head = '{"time": "2026-11-24T12:00:00Z", "run_id": "run-1", "type": '
    assert file.read_text(encoding="utf-8").splitlines() == [
        head + '"warning", "level": "warning", "message": "odd", "component": "rules"}',
        head + '"warning", "level": "error", "message": "broken"}',
        head + '"download_progress", "level": "info", "message": "begun", '
        '"bytes": 0, "total": 9, "rate": 0, "seconds_left": null}',
        head + '"rollout_moved", "level": "info", "message": "on", '
        '"component": "rules", "version": "7", "group": "", "status": "running", "wave": 1}',
    ]


def test_an_event_is_written_at_once(tmp_path: Path) -> None:
    terminal, file = Terminal(), tmp_path / "events"
    log = log_to(terminal)
    with appending(log, terminal, file):
        log(Trouble("one"))
        assert len(events(file)) == 1


def test_progress_is_plain_lines_and_what_clients_say_is_left_to_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    log = log_to(Terminal())
    with log.to(None):
        log(LookStarted("looking at 2 clients", clients=2))
        log(ClientObserved("a: seen", client="a"))
        log(ClientObserved("b: no connection", level="warning", client="b"))
        log(ClientFinished("a: failed", level="error", client="a", outcome="failed"))
        log(RunFinished("run-1: done", status="done"))
    assert capsys.readouterr().err.splitlines() == [
        "12:00:00 looking at 2 clients",
        "12:00:00 run-1: done",
    ]


def test_quiet_tells_of_trouble_only(capsys: pytest.CaptureFixture[str]) -> None:
    log = log_to(Terminal(), quiet=True)
    with log.to(None):
        log(RunStarted("begun", plan_id="p"))
        log(Trouble("odd"))
    assert capsys.readouterr().err == "12:00:00 warning: odd\n"


def test_what_clients_say_cannot_move_the_cursor_or_add_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    message = "pc: \x1b[2J\r\nall is fine\x9b"
    log_to(Terminal())(Trouble(message, level="error"))
    assert capsys.readouterr().err == "12:00:00 error: pc: ?[2J??all is fine?\n"


@pytest.mark.parametrize("secret", ODD_SECRETS)
def test_a_secret_is_in_no_output_however_it_is_written_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], secret: Any
) -> None:
    terminal, file = secretive(secret), tmp_path / "events"
    message = f"proxy refuses {secret}, it says"
    log, document = log_to(terminal), plan_document(Plan("p", NOW, BASIS, problems=(message,)))
    with appending(log, terminal, file):
        log(Trouble(message, source=message))
    forms = [form for form in FORMATS if FORMATS[form].shows(PLAN)]
    for form in forms:
        terminal.result(render(document, form, PLAN))
    shown = capsys.readouterr()
    own = "".join(render(plan_document(Plan("p", NOW, BASIS)), form, PLAN) for form in forms)  # words of a page's style
    for text, words in ((shown.out, own), (shown.err, ""), (file.read_text(encoding="utf-8"), "")):
        assert "proxy refuses" in text
        assert not [part for part in re.findall(r"\w{3,}", secret) if text.count(part) > words.count(part)]
    (event,) = events(file)
    assert MASK in event["message"]
    assert MASK in event["source"]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_secret_with_blanks_is_masked_where_its_line_is_broken(width: int) -> None:
    terminal = secretive("correct horse battery staple")
    message = f"{'x ' * 12}the proxy refuses correct horse battery staple, {'y ' * 30}"
    document = plan_document(Plan("p", NOW, BASIS, problems=(message,)))
    shown = terminal.rendered(document, "text", PLAN, look=Look(width=width))
    assert MASK in shown
    assert not [word for word in ("correct", "horse", "battery", "staple") if word in shown]


def test_notes_that_are_cut_within_a_secret_do_not_show_how_it_begins() -> None:
    terminal, secret = secretive("geheim-geheim-geheim"), "geheim-geheim-geheim"
    for before in range(90, 104):
        provenance = Provenance("rules", "2", "any", "a" * 64, notes=f"{'x' * (before - 1)} {secret} and more")
        plan = Plan("p", NOW, BASIS, provenance=(provenance,))
        for form in ("text", "markdown"):
            assert "gehe" not in terminal.mask(terminal.rendered(plan_document(plan), form, PLAN, look=PLAIN)), before
    assert terminal.mask("it says gehei\u2026 and more") == f"it says {MASK}\u2026 and more"
    assert terminal.mask("it says ein geh\u2026 gestern") == "it says ein geh\u2026 gestern"


def test_a_secret_that_is_a_word_of_documents_breaks_none() -> None:
    example = json.loads((ROOT / "schema" / "plan.schema.json").read_text(encoding="utf-8"))["examples"][0]
    for secret in ("deploy", "office", "2026", "wave", "halted", "summary", "T12:00"):
        for form in [form for form in FORMATS if FORMATS[form].shows(PLAN)]:
            assert secretive(secret).rendered(plan_document(read_plan(example)), form, PLAN)


# --- logs -----------------------------------------------------------------------------------------------------------


def told(style: LogStyle, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Give the lines that a command says in a style."""
    masker = Masker()
    masker.add("geheim-geheim")
    terminal = Terminal(masker.mask)
    terminal.log = style
    terminal.note("before geheim-geheim")
    log = log_to(terminal)
    with log.to(None):
        log(LookStarted("looking", clients=2))
        log(ClientObserved("a: seen", client="a"))
        log(ClientObserved("b: geheim-geheim\x1b[2J", level="warning", client="b"))
    terminal.note("Error: x\n  do y", "error")
    said = capsys.readouterr()
    assert not said.out
    assert "geheim" not in said.err
    return said.err.splitlines()


def test_a_log_of_json_has_a_line_for_each_thing_with_level_and_run(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in told(LogStyle("json"), capsys)]
    assert [(line["level"], line["run_id"], line["message"]) for line in lines] == [
        ("info", None, f"before {MASK}"),
        ("info", "run-1", "looking"),
        ("warning", "run-1", f"b: {MASK}\x1b[2J"),
        ("error", "run-1", "Error: x\n  do y"),
    ]
    assert lines[1].items() >= {"type": "look_started", "clients": 2, "time": "2026-11-24T12:00:00Z"}.items()


def test_a_log_of_text_has_time_level_and_run_in_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    first, *lines = told(LogStyle("text"), capsys)
    assert re.fullmatch(rf"\d{{4}}-\S+Z INFO    - before {re.escape(MASK)}", first)
    assert lines[:2] == [
        "2026-11-24T12:00:00Z INFO    run-1 looking",
        f"2026-11-24T12:00:00Z WARNING run-1 b: {MASK}?[2J",
    ]
    assert [line.partition(" ")[2] for line in lines[2:]] == ["ERROR   run-1 Error: x", "ERROR   run-1   do y"]


def test_quiet_leaves_warnings_and_errors_and_verbose_tells_of_each_client(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(LogStyle(quiet=True), capsys) == ["Error: x", "  do y"]
    assert {"12:00:00 a: seen", f"12:00:00 warning: b: {MASK}?[2J"} <= {*told(LogStyle(verbose=1), capsys)}
    assert not {"12:00:00 a: seen", f"12:00:00 warning: b: {MASK}?[2J"} & {*told(LogStyle(), capsys)}


@pytest.mark.parametrize(
    ("verbose", "shown"), [(0, ["warning"]), (1, ["info", "warning"]), (2, ["debug", "info", "warning"])]
)
def test_verbose_shows_what_plugins_log(verbose: int, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    terminal.log = LogStyle(verbose=verbose)
    handler = Log(terminal)
    for level, message in ((logging.DEBUG, "debug"), (logging.INFO, "info"), (logging.WARNING, "warning")):
        handler.handle(logging.LogRecord("updoser.x", level, "", 0, message, None, None))
    assert capsys.readouterr().err.split() == shown


def test_the_command_line_sets_the_style_of_the_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run(["--log-format", "json", "validate", "-f", str(tmp_path / "none")], Terminal()) == 65
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], "the file isn't there" in line["message"]) == ("error", True)
    assert cli.run(["-q", "-v", "validate"], Terminal()) == 64


@pytest.mark.parametrize("option", ["-q", "--quiet", "--log-format"])
def test_an_option_of_updoser_behind_the_command_is_told_where_it_belongs(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["status", option], Terminal()) == 64
    assert f"it stands before the command: updoser {option} COMMAND" in capsys.readouterr().err
    assert cli.run(["status", "--nonsense"], Terminal()) == 64
    assert "before the command" not in capsys.readouterr().err


def test_an_interrupted_command_says_so_in_a_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "status", interrupted)
    assert cli.run(["status"], Terminal()) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_a_process_that_is_interrupted_before_it_began_ends_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "status"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")
