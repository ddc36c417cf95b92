"""What people do in the console: they see what will happen, say why, and are told what came of it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.controller import ControllerReport, Pause, pause_digest
from reconciler.model.request import REQUEST_KINDS, ROLES
from reconciler.model.rollout import Cut, RolloutRecord
from reconciler.storage.state import State
from tests.console import NOW, SOMEBODY, Answer, ask, console_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.console.frame import Person

RECORD = RolloutRecord(
    component="rules",
    version="2",
    group="",
    status="running",
    cuts=(Cut("label=canary"), Cut(upto=2**31), Cut(upto=2**32 - 1)),
    sizes=(3, 97, 900),
    structure="s",
    started=NOW,
    opened=NOW,
)
ABOUT = {"component": "rules", "version": "2", "group": ""}
SAID = ControllerReport(who="up@hq", phase="sleeping", mode="apply", since=NOW, looked=NOW)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        state.record_rollout(RECORD)
        yield state


def look(state: State, path: str, person: Person = SOMEBODY, **settings: Any) -> Answer:
    return ask(console_app(state, person, **settings), path)


def shown(answer: Answer) -> str:
    """Give what a page says, without what it says it with."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).replace("\u202f", " ").split())


def fields_of(page: Answer) -> dict[str, str]:
    """Give what a form sends that nobody filled in."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"/>', page.text.partition("<main")[2])
    return {name: unescape(value) for name, value in found}


def send(
    state: State, kind: str, fields: dict[str, str], person: Person = SOMEBODY, kind_of: str = "", **settings: Any
) -> Answer:
    headers = {"content-type": kind_of or "application/x-www-form-urlencoded"}
    app = console_app(state, person, **settings)
    return ask(app, f"/do/{kind}", method="POST", headers=headers, body=urlencode(fields).encode())


def asked(state: State, kind: str, person: Person = SOMEBODY, **fields: str) -> Answer:
    """Open the form, fill it in, and send it."""
    page = look(state, f"/do/{kind}?{urlencode(ABOUT)}", person)
    return send(state, kind, {**fields_of(page), **fields}, person)


def test_what_somebody_wants_is_written_down_as_they_saw_it_and_the_controller_is_woken(state: State) -> None:
    before = state.asked()
    answer = asked(state, "abort", reason="false alarms", undo="1")
    assert (answer.status, answer.headers["location"]) == (303, "/requests/1")
    (found,) = state.open_requests()
    assert (found.kind, found.who, found.reason, found.seen) == ("abort", "ann", "false alarms", RECORD.fingerprint)
    assert (found.target.component, found.target.version, found.target.undo) == ("rules", "2", True)
    assert (set(found.roles), found.address) == (set(ROLES), "127.0.0.1")
    assert state.asked() == before + 1


def test_the_form_says_who_gets_what_before_anything_is_done(state: State) -> None:
    state.keep_snapshots("status", {"": {"rollouts": [], "components": [{"id": "rules", "versions": {"2": 43}}]}})
    page = shown(look(state, f"/do/approve?{urlencode(ABOUT)}"))
    assert "Wave 2 of 3 may open once the one before it is through: 97 clients get it." in page
    assert "900 clients of later waves wait on." in page
    page = shown(look(state, f"/do/abort?{urlencode(ABOUT)}"))
    assert "Take it back: the 43 clients that have it go back to the version before." in page
    assert "No controller runs now. It waits for one, for 24 hours at most." in page
    assert "A second person has to approve it" in shown(look(state, f"/do/approve?{urlencode(ABOUT)}", four_eyes=True))
    assert state.requests() == []


@pytest.mark.parametrize("kind", ["pause", "abort", "pause_controller"])
def test_without_a_reason_nothing_is_asked_and_what_was_typed_stays(state: State, kind: str) -> None:
    answer = asked(state, kind, reason="  ", span="4h", undo="1")
    assert answer.status == 400
    assert "Say why" in shown(answer)
    if kind == "abort":
        assert 'checked="checked"' in answer.text
    if kind == "pause_controller":
        assert '<option value="4h" selected="selected">' in answer.text
    assert state.requests() == []


@pytest.mark.parametrize("kind", REQUEST_KINDS)
def test_who_has_not_the_role_is_told_which_it_takes_and_sees_no_button(state: State, kind: str) -> None:
    viewer = replace(SOMEBODY, roles=frozenset(["viewer"]))
    needed = "approver" if kind == "approve" else "operator"
    for answer in (
        look(state, f"/do/{kind}?{urlencode(ABOUT)}", viewer),
        send(state, kind, {**ABOUT, "csrf": "form", "reason": "x"}, viewer),
    ):
        assert answer.status == 403
        assert f"That takes the role {needed}. You are signed in as ann; your roles: viewer." in shown(answer)
    assert "/do/" not in look(state, "/rollouts", viewer).text
    assert "/do/pause?" in look(state, "/rollouts").text
    assert state.requests() == []


def test_a_form_that_was_not_shown_here_is_refused(state: State) -> None:
    fields = {**ABOUT, "reason": "x", "seen": RECORD.fingerprint}
    for forged in ({}, {"csrf": ""}, {"csrf": "other"}):
        assert send(state, "abort", {**fields, **forged}).status == 403
    nobody = replace(SOMEBODY, csrf="")
    assert send(state, "abort", {**fields, "csrf": ""}, nobody).status == 403
    assert send(state, "abort", {**fields, "csrf": "form"}, kind_of="text/plain").status == 415
    assert send(state, "abort", {**fields, "csrf": "form", "reason": "x" * 70_000}).status == 413
    assert send(state, "abort", {**{f"f{n}": "" for n in range(50)}, "csrf": "form"}).status == 400
    assert state.requests() == []


def test_who_sends_a_form_twice_asked_once(state: State) -> None:
    form = {**fields_of(look(state, f"/do/pause?{urlencode(ABOUT)}")), "reason": "freeze"}
    assert {send(state, "pause", form).headers["location"] for _again in range(2)} == {"/requests/1"}
    assert len(state.requests()) == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/do/approve?component=rules&version=9", 404),
        ("/do/approve?component=nonsense", 404),
        ("/do/approve?component=rules&version=2&group=nowhere", 404),
        ("/do/resume?component=rules&version=2", 409),
        ("/do/reboot", 404),
        ("/requests/99", 404),
        ("/rollouts/rules/9", 404),
        ("/rollouts?status=nonsense", 400),
        ("/rollouts?before=nonsense", 400),
    ],
)
def test_what_is_not_there_is_said_in_a_page(state: State, path: str, status: int) -> None:
    answer = look(state, path)
    assert answer.status == status
    assert "<h1>" in answer.text


def test_the_page_of_a_request_says_what_came_of_it_and_for_whom_it_waits(state: State) -> None:
    asked(state, "approve")
    assert "No controller runs: it waits until one does, for 24 hours at most." in shown(look(state, "/requests/1"))
    lease = state.take_lease(None)
    assert lease is not None
    state.report_controller(SAID)
    assert "up@hq leads, and judges it within seconds." in shown(look(state, "/requests/1"))
    state.settle(1, "seconded", "rules 2: ann approves; it waits for a second person who does")
    assert "Approve it, too" not in shown(look(state, "/requests/1"))
    assert "Approve it, too" in shown(look(state, "/requests/1", replace(SOMEBODY, who="bob")))
    state.settle(1, "done", "rules 2: wave 2 of 3 may open; the controller goes on with it")
    page = shown(look(state, "/requests/1"))
    assert "Wave 2 of 3 may open; the controller goes on with it" in page
    assert "Look again" not in page


def test_a_pause_of_the_controller_has_an_end_and_is_ended_by_who_saw_it(state: State) -> None:
    asked(state, "pause_controller", reason="audit", span="4h")
    (found,) = state.requests()
    assert (found.target.until, found.reason) == (NOW + timedelta(hours=4), "audit")
    assert asked(state, "pause_controller", reason="audit", span="9y").status == 400
    pause = Pause(who="eve", reason="audit", since=NOW)
    state.report_controller(SAID)
    state.pause_controller(pause)
    assert "Paused by eve" in shown(look(state, "/do/resume_controller"))
    asked(state, "resume_controller")
    assert state.requests()[0].seen == pause_digest(pause)


text = st.text(max_size=12)


@given(st.sampled_from([*REQUEST_KINDS, "nonsense"]), st.dictionaries(st.sampled_from([*ABOUT, "span", "undo"]), text))
@settings(deadline=None, max_examples=60)
def test_whatever_an_address_says_a_page_answers(
    tmp_path_factory: pytest.TempPathFactory, kind: str, fields: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("state")
    with State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW) as state:
        state.record_rollout(RECORD)
        asked_for = urlencode(fields, errors="surrogatepass")
        for path in (f"/do/{kind}?{asked_for}", f"/rollouts?{asked_for}", f"/rollouts/rules/2?{asked_for}"):
            assert look(state, path).status in {200, 400, 404, 409}
