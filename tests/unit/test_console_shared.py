"""Pages that are made once for all who look: everybody sees what there is now, and nobody what is somebody else's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from starlette.middleware import Middleware

from reconciler.console.app import make_app
from reconciler.console.frame import Console, Person
from reconciler.model.controller import ControllerReport, Pause
from reconciler.present.html.pages import console_page
from reconciler.storage.state import State
from tests.console import NOW, SOMEBODY, ask
from tests.console_states import MADE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PEOPLE = {
    "ann": SOMEBODY,
    "bob": replace(SOMEBODY, who="bob & <b>", csrf="form of bob"),
    "eve": Person(who="eve", roles=frozenset(["viewer"]), csrf="form of eve"),
}


class OneOfThem:
    """Has a request be of the one whom it names."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["updoser.person"] = PEOPLE[dict(scope["headers"])[b"x-who"].decode()]
        await self._app(scope, receive, send)


class Clock:
    """A clock that stands until somebody sets it."""

    now = NOW

    def __call__(self) -> Any:
        return self.now


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        MADE["trouble"](state)
        yield state


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(state: State, tmp_path: Path, clock: Clock) -> Iterator[Any]:
    with State.open_shared(f"sqlite:///{tmp_path}/state.db", clock=clock) as console:
        yield make_app(Console(console, clock), [Middleware(OneOfThem)])


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The templates of the pages that were made."""
    found: list[str] = []

    def counting(template: str, view: Any, around: Any) -> str:
        found.append(template)
        return console_page(template, view, around)

    monkeypatch.setattr("reconciler.console.frame.console_page", counting)
    return found


def text(app: Any, who: str, path: str = "/") -> str:
    answer = ask(app, path, headers={"x-who": who})
    assert answer.status == 200
    return answer.text


def test_many_who_look_in_the_same_moment_get_a_page_that_was_made_once(app: Any, made: list[str]) -> None:
    assert {who for who in ("ann", "bob") for _ in range(3) if text(app, who)} == {"ann", "bob"}
    assert made == ["console_summary.html"]


def test_each_who_looks_sees_their_own_name_and_sends_their_own_forms(app: Any) -> None:
    for _ in range(2):
        ann, bob = text(app, "ann"), text(app, "bob")
        assert '<span class="name">ann</span>' in ann
        assert 'name="csrf" value="form"' in ann
        assert '<span class="name">bob &amp; &lt;b&gt;</span>' in bob
        assert 'name="csrf" value="form of bob"' in bob


def test_nobody_gets_the_buttons_of_who_looked_before(app: Any) -> None:
    assert "/do/resume" in text(app, "ann")
    assert "/do/" not in text(app, "eve")


def test_what_was_written_a_moment_ago_is_shown_though_the_clock_stands(app: Any, state: State) -> None:
    assert "change freeze" not in text(app, "ann")
    state.report_controller(ControllerReport(who="ann@a", phase="sleeping", mode="apply", since=NOW))
    state.pause_controller(Pause(who="bob", reason="change freeze", since=NOW))
    assert "change freeze" in text(app, "ann")
    state.pause_controller(None)
    assert "change freeze" not in text(app, "ann")


def test_how_long_ago_something_was_goes_on_though_nobody_writes_anything(app: Any, clock: Clock) -> None:
    before = text(app, "ann")
    clock.now += timedelta(hours=3)
    assert text(app, "ann") != before


def test_a_page_that_a_browser_has_is_sent_again_to_somebody_else_only(app: Any, made: list[str]) -> None:
    tag = ask(app, "/", headers={"x-who": "ann"}).headers["etag"]
    assert ask(app, "/", headers={"x-who": "ann", "if-none-match": tag}).status == 304
    assert ask(app, "/", headers={"x-who": "bob", "if-none-match": tag}).status == 200
    assert len(made) == 1


def test_what_is_wrong_with_an_address_is_said_to_each_who_asks_for_it(app: Any) -> None:
    for who, name in (("ann", "ann"), ("bob", "bob &amp; &lt;b&gt;")):
        for path, status in (("/?within=9", 400), ("/clients?state=none", 400), ("/components/none", 404)):
            answer = ask(app, path, headers={"x-who": who})
            assert (answer.status, f'<span class="name">{name}</span>' in answer.text) == (status, True)
