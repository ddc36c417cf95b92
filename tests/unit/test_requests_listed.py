"""What people asked of the controller, listed at a terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from reconciler.model.request import Request, Target
from reconciler.present.look import Look
from reconciler.present.request_form import request_document
from reconciler.present.request_text import requests_rows, requests_text
from reconciler.storage.state import State
from tests.fakes import NOW
from tests.fleet import Fleet
from tests.unit.test_documents import schema

if TYPE_CHECKING:
    from pathlib import Path

ASKED = Request(
    id=17,
    at=NOW,
    who="ann",
    kind="abort",
    target=Target(component="rules", version="2", group="branch", undo=True),
    reason="it crashes",
)


def test_requests_are_listed_with_what_came_of_them_and_those_that_wait_alone(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, 1)
    assert fleet.run("controller", "requests").out == "Nobody asked anything of the controller.\n"
    with State.open(f"sqlite:///{fleet.folder}/state.db", clock=lambda: NOW) as state:
        first = state.ask(ASKED)
        state.settle(first, "refused", "rules 2: it changed since you looked")
        state.ask(replace(ASKED, kind="look", target=Target(), reason=""))
    listed = fleet.run("controller", "requests", "--format", "json").json
    for document in listed:
        Draft202012Validator(schema("request")).validate(document)
    assert [(one["kind"], one["status"]) for one in listed] == [("look", "waiting"), ("abort", "refused")]
    text = fleet.run("controller", "requests").out
    assert "2 requests, the newest first" in text
    assert "ann  Abort rules 2 in group branch and take it back  refused" in text
    assert "because: it crashes" in text
    assert ": rules 2: it changed since you looked" in text
    (waits,) = fleet.run("controller", "requests", "--waiting", "--format", "json").json
    assert waits["kind"] == "look"
    assert "abort" not in fleet.run("controller", "requests", "--last", "1", "--format", "csv").out.lower()


def test_what_somebody_wrote_moves_no_cursor_and_a_list_fits_a_narrow_terminal() -> None:
    odd: Any = replace(ASKED, who="ann\x1b[2J", reason="why " * 60, status="done", done_at=NOW + timedelta(seconds=2))
    proposal = replace(odd, kind="pin", says="this pins it\n\n--- a\n+++ b")
    text = requests_text([request_document(odd), request_document(proposal)], look=Look(80))
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "+++" not in text
    assert requests_rows([request_document(proposal)])[1][-1] == "this pins it"
