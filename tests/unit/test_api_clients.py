"""Clients over the API: those that pages and commands find, a page at a time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from reconciler.console.frame import Person
from reconciler.observe.judging import keep_index
from reconciler.observe.observed import observe
from tests.console import ask, console_app
from tests.unit.test_api import API, WHOLE, fitting, said
from tests.unit.test_found import SEEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.workbench import Bench, Opened


@pytest.fixture
def app(opened: Opened) -> Any:
    bench: Bench = opened({"g": 5, "h": 2})
    bench.release("2")
    bench.plan()
    with bench.work() as work:
        keep_index(work, observe(work, SEEN))
    return console_app(bench.state)


@pytest.fixture
def given(app: Any) -> Callable[[str], Any]:
    """Give a document of an address, and hold it to its schema."""

    def give(path: str) -> Any:
        answer = ask(app, API + path)
        assert answer.status == 200, answer.text
        described = "/clients" if path.startswith("/clients?") or path == "/clients" else "/clients/{name}"
        document = json.loads(answer.body)
        content = WHOLE["paths"][described]["get"]["responses"]["200"]["content"]
        fitting(content["application/json"]["schema"], document)
        return document

    return give


def test_clients_are_found_by_their_fields_and_pages_lead_through_all(given: Callable[[str], Any]) -> None:
    whole = [one["name"] for one in given("/clients")["clients"]]
    assert len(whole) == 7
    seen, path = [], "/clients?limit=3"
    while path:
        page = given(path)
        seen += [one["name"] for one in page["clients"]]
        path = (page["next"] or "").removeprefix(API)
    assert seen == whole
    of_both = given("/clients?group=g&group=h&limit=2")
    assert of_both["next"].startswith(f"{API}/clients?group=g&group=h&limit=2&after=")
    assert {one["group"] for one in given("/clients?group=h")["clients"]} == {"h"}
    assert given("/clients?group=h")["where"] == "group=h"
    assert given("/clients?name=nobody-*")["clients"] == []


def test_a_client_is_given_by_its_very_name(app: Any, given: Callable[[str], Any]) -> None:
    name = given("/clients")["clients"][0]["name"]
    found = given(f"/clients/{quote(name)}")
    assert found["client"]["name"] == name
    assert found["client"]["components"]
    for other in ("*", f"[{name[0]}]{name[1:]}", "?" * len(name), f"!{name}", f"={name}", f"{name}/x"):
        assert "no client" in said(ask(app, f"{API}/clients/{quote(other)}"), 404)["error"]


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("stat=outdated", "state"),
        ("state=odd", "odd"),
        ("component=nothing", "nothing"),
        ("limit=1001", "1 to 1000"),
        ("after=a&after=b", "twice"),
        ("name=a%00", "could be"),
        ("seen=soon", "soon"),
    ],
)
def test_what_can_not_be_asked_is_told_with_what_can(app: Any, query: str, part: str) -> None:
    found = said(ask(app, f"{API}/clients?{query}"), 400)
    assert part in f"{found['error']} {found.get('hint', '')}"


def test_who_is_no_viewer_finds_nobody(app: Any) -> None:
    other = console_app(app.state.console.state, Person(who="otto", roles=frozenset(["operator"])))
    said(ask(other, f"{API}/clients"), 403)
    said(ask(other, f"{API}/clients/pc-1"), 403)
