"""Where commands write: results apart from all else, progress as lines, events as JSON, secrets nowhere."""

import io
import json
import re
from contextlib import contextmanager
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from reconciler.model.events import EVENT_TYPES
from reconciler.model.plan import Basis, Plan
from reconciler.present.document import plan_document
from reconciler.present.render import FORMATS, render
from reconciler.present.terminal import EventLog, Terminal
from reconciler.present.views import PLAN
from reconciler.specfile.secrets import MASK, Masker
from reconciler.storage.eventfile import event_file
from tests.fakes import NOW

SCHEMA = json.loads((Path(__file__).parents[2] / "schema" / "events.schema.json").read_text(encoding="utf-8"))
BASIS = Basis("l", 1, 0, "s", "c")
ODD_SECRETS = ("plain-secret", 'quo"xyz\\back', "pässwörd", "first\nsecond", "tab\tchar\x7f", "star*pipe|@mark<>")


def log_to(terminal, **options):
    return EventLog("run-1", lambda: NOW, terminal, **options)


@contextmanager
def appending(log, terminal, file):
    """Append the events of a log to a file."""
    with event_file(file, terminal.lose) as append, log.to(append):
        yield


def secretive(secret):
    masker = Masker()
    masker.add(secret)
    return Terminal(masker.mask)


def events(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_results_and_everything_else_go_separate_ways(capsys):
    terminal = Terminal()
    terminal.result("result\n")
    terminal.note("note")
    assert capsys.readouterr() == ("result\n", "note\n")


def test_a_question_is_asked_beside_the_result(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("  yes \nmore\n"))
    assert Terminal().ask("sure? ") == "yes"
    assert Terminal().ask("sure? ") == "more"
    assert Terminal().ask("sure? ") == ""
    assert capsys.readouterr() == ("", "sure? " * 3)


def test_each_event_is_a_line_that_fits_its_schema(tmp_path, capsys):
    terminal, file = Terminal(), tmp_path / "events"
    log = log_to(terminal)
    for _run in range(2):
        with appending(log, terminal, file):
            for kind in EVENT_TYPES:
                log(kind, "a message\nof two lines", clients=1, client="pc", words=["a"])
    written = events(file)
    assert [entry["type"] for entry in written] == [*EVENT_TYPES] * 2
    for entry in written:
        Draft202012Validator(SCHEMA).validate(entry)
    assert written[0] == {
        "time": "2026-11-24T12:00:00Z",
        "run_id": "run-1",
        "type": EVENT_TYPES[0],
        "level": "info",
        "message": "a message\nof two lines",
        "clients": 1,
        "client": "pc",
        "words": ["a"],
    }
    assert capsys.readouterr().out == ""


def test_an_event_is_written_at_once(tmp_path):
    terminal, file = Terminal(), tmp_path / "events"
    log = log_to(terminal)
    with appending(log, terminal, file):
        log("warning", "one")
        assert len(events(file)) == 1


def test_progress_is_plain_lines_without_what_comes_for_every_client(capsys):
    log = log_to(Terminal())
    with log.to(None):
        log("look_started", "looking at 2 clients", clients=2)
        log("client_observed", "a: seen", client="a")
        log("client_observed", "b: no connection", level="warning", client="b")
        log("client_finished", "a: failed", level="error", client="a")
        log("run_finished", "run-1: done")
    assert capsys.readouterr().err.splitlines() == [
        "12:00:00 looking at 2 clients",
        "12:00:00 warning: b: no connection",
        "12:00:00 error: a: failed",
        "12:00:00 run-1: done",
    ]


def test_quiet_tells_of_trouble_only(capsys):
    log = log_to(Terminal(), quiet=True)
    with log.to(None):
        log("run_started", "begun")
        log("warning", "odd", level="warning")
    assert capsys.readouterr().err == "12:00:00 warning: odd\n"


def test_what_clients_say_cannot_move_the_cursor_or_add_a_line(capsys):
    log_to(Terminal())("client_finished", "pc: \x1b[2J\r\nall is fine\x9b", level="error", client="pc")
    assert capsys.readouterr().err == "12:00:00 error: pc: ?[2J??all is fine?\n"


@pytest.mark.parametrize("secret", ODD_SECRETS)
def test_a_secret_is_in_no_output_however_it_is_written_there(tmp_path, capsys, secret):
    terminal, file = secretive(secret), tmp_path / "events"
    message = f"proxy refuses {secret}, it says"
    log, document = log_to(terminal), plan_document(Plan("p", NOW, BASIS, problems=(message,)))
    with appending(log, terminal, file):
        log("warning", message, level="warning", detail=message)
    for form in FORMATS:
        terminal.result(render(document, form, PLAN))
    shown = capsys.readouterr()
    for text in (shown.out, shown.err, file.read_text(encoding="utf-8")):
        assert "proxy refuses" in text
        assert not [part for part in re.findall(r"\w{3,}", secret) if part in text]
    (event,) = events(file)
    assert MASK in event["message"]
    assert MASK in event["detail"]
