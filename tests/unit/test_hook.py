"""The hook of a forge: who knows the secret has the controller look, and nobody does anything else with it."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.console.hook import LARGEST, Wakes, is_from_forge
from reconciler.console.sign_in.tries import BY_ADDRESS
from reconciler.model.console import ConsoleSpec
from reconciler.storage.state import State
from tests.console import NOW, Answer, ask, console_app, run
from tests.door import Door
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "a secret of 32 characters or more"
BODY = b'{"ref": "refs/heads/main"}'


def signed(body: bytes = BODY, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, "sha256").hexdigest()


GOOD = [
    {"x-hub-signature-256": f"sha256={signed()}", "x-github-event": "push"},
    {"x-gitea-signature": signed(), "x-hub-signature-256": f"sha256={signed()}"},
    {"x-forgejo-signature": signed()},
    {"x-gitlab-token": SECRET},
]
BAD: list[dict[str, str]] = [
    {},
    {"x-hub-signature-256": ""},
    {"x-hub-signature-256": f"sha256={signed(secret='another')}"},
    {"x-hub-signature-256": f"sha1={signed()}"},
    {"x-hub-signature-256": f"sha256={signed(b'other')}"},
    {"x-hub-signature": f"sha256={signed()}"},
    {"x-gitlab-token": ""},
    {"x-gitlab-token": SECRET[:-1]},
    {"x-gitlab-token": SECRET, "x-gitea-signature": signed(secret="another")},
    {"authorization": f"Bearer {SECRET}"},
]


@pytest.fixture
def state(state_url: str) -> Iterator[State]:
    with State.open(state_url, clock=lambda: NOW) as state:
        yield state


@pytest.fixture
def app(state: State) -> Any:
    return console_app(state, hook=SECRET)


def push(app: Any, headers: dict[str, str], body: bytes = BODY) -> Answer:
    return ask(app, "/hooks/git", method="POST", headers=headers, body=body)


@pytest.mark.parametrize("headers", GOOD)
def test_a_push_of_each_forge_wakes_the_controller(state: State, headers: dict[str, str]) -> None:
    async def test() -> None:
        wakes = Wakes(0)
        wakes.ask(state)
        assert wakes._waiting
        await wakes._waiting

    assert is_from_forge(headers, BODY, SECRET)
    before = state.asked()
    run(test())
    assert state.asked() == before + 1


def test_a_push_is_answered_at_once(app: Any) -> None:
    assert push(app, GOOD[0]).status == 202


@pytest.mark.parametrize("headers", BAD)
def test_whoever_does_not_know_the_secret_is_refused(app: Any, state: State, headers: dict[str, str]) -> None:
    answer = push(app, headers)
    assert answer.status == 403
    assert SECRET not in answer.text
    assert state.asked() == 0


@given(
    st.dictionaries(
        st.sampled_from(["x-hub-signature-256", "x-gitea-signature", "x-gitlab-token"]), st.text(), max_size=3
    )
)
def test_no_headers_that_are_guessed_are_taken(headers: dict[str, str]) -> None:
    assert not is_from_forge(headers, BODY, SECRET)


def test_without_a_secret_there_is_no_such_address(state: State) -> None:
    assert push(console_app(state), GOOD[0]).status == 404
    assert push(console_app(state), {"x-gitlab-token": ""}).status == 404


def test_what_is_too_large_or_no_post_is_refused(app: Any) -> None:
    assert push(app, GOOD[0], b"x" * (LARGEST + 1)).status == 413
    assert ask(app, "/hooks/git").status == 405


def test_who_guesses_has_to_wait_and_then_the_secret_is_taken_again(app: Any) -> None:
    statuses = [push(app, BAD[1]).status for _each in range(BY_ADDRESS + 2)]
    assert statuses == [403] * BY_ADDRESS + [429] * 2
    assert int(push(app, GOOD[0]).headers["retry-after"]) > 0


def test_of_many_pushes_at_once_the_first_is_told_at_once_and_the_last_is_not_lost(state: State) -> None:
    async def test() -> None:
        wakes = Wakes(0.2)
        for _each in range(50):
            wakes.ask(state)
        await asyncio.to_thread(until, lambda: state.asked() == 1)
        for _each in range(50):
            wakes.ask(state)
        assert state.asked() == 1
        await asyncio.to_thread(until, lambda: state.asked() == 2)

    run(test())


def test_a_forge_needs_no_sign_in_and_comes_from_no_page_of_ours(state: State) -> None:
    door = Door(state, lambda: NOW)
    assert push(door.app, GOOD[0]).status == 404
    door.inner.state.console = replace(door.inner.state.console, hook=SECRET)
    assert [push(door.app, headers).status for headers in (GOOD[0], BAD[2])] == [202, 403]


def test_what_a_hook_knows_stands_in_no_text_of_the_console(state: State) -> None:
    app = console_app(state, hook=SECRET)
    assert SECRET not in repr(app.state.console)
    assert ConsoleSpec().hook is None
