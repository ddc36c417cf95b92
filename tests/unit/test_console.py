"""The frame of the console: what each page has, and what is said where a page can't be."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.present.html.pages import STATIC
from reconciler.storage.state import State
from tests.console import NOW, ask, console_app


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        yield state


def test_a_console_over_an_empty_state_says_what_to_do(state: State) -> None:
    answer = ask(console_app(state), "/")
    assert answer.status == 200
    assert "updoser run" in answer.text


def test_what_is_not_there_is_said_in_a_page(state: State) -> None:
    answer = ask(console_app(state), "/nonsense")
    assert answer.status == 404
    assert "There is no such page." in answer.text
    assert ask(console_app(state), "/", method="POST").status == 405


def test_a_page_that_a_browser_has_is_not_sent_again(state: State) -> None:
    first = ask(console_app(state), "/")
    again = ask(console_app(state), "/", headers={"if-none-match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_all_that_pages_name_is_there_and_kept_by_browsers(state: State) -> None:
    for name in STATIC:
        answer = ask(console_app(state), f"/static/{name}")
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]
    assert ask(console_app(state), "/static/page.html").status == 404
