"""The Summary and the pages of components: every figure is the one of the status document, and leads to its list."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.console.frame import Person
from reconciler.present.html import links
from reconciler.present.words import number_text
from reconciler.storage.state import State
from tests.console import NOW, ask, console_app
from tests.console_states import MADE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNTS = ("updated", "outdated", "ahead", "unknown")


@pytest.fixture(scope="module", params=list(MADE))
def state(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    yield from made(request.param, tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="module")
def trouble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    yield from made("trouble", tmp_path_factory.mktemp("state"))


def made(name: str, folder: Path) -> Iterator[State]:
    with State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW) as state:
        MADE[name](state)
        yield state


def led(text: str) -> dict[str, list[str]]:
    """Give the texts of links by where they lead to."""
    found: dict[str, list[str]] = {}
    for address, inner in re.findall(r'<a [^>]*href="([^"]*)"[^>]*>(.*?)</a>', text, re.DOTALL):
        words = unescape(re.sub(r"<[^>]+>", "", inner)).replace("\u202f", " ")
        found.setdefault(unescape(address), []).append(" ".join(words.split()))
    return found


def status(state: State) -> Any:
    found = state.snapshot("status")
    assert found is not None
    return found.document


def test_each_figure_of_the_summary_is_of_the_status_and_leads_to_its_list(state: State) -> None:
    answer = ask(console_app(state), "/")
    assert answer.status == 200
    found = led(answer.text)
    for entry in status(state)["components"]:
        for key in COUNTS:
            address = links.clients_with(entry["id"], key)
            for text in found.get(address, ()):
                assert text in {number_text(entry[key]), f"{number_text(entry[key])} {key}"}
        if entry["outdated"]:
            assert number_text(entry["outdated"]) in found[links.clients_with(entry["id"], "outdated")]
        assert links.component(entry["id"]) in found


def test_the_figures_of_a_group_are_of_that_group(trouble: State) -> None:
    found = led(ask(console_app(trouble), "/?group=branch").text)
    kept = trouble.snapshot("group", "branch")
    assert kept is not None
    late = [entry for entry in kept.document["components"] if entry["outdated"]]
    assert late
    for entry in late:
        assert found[links.clients_with(entry["id"], "outdated", "branch")] == [number_text(entry["outdated"])]


def test_releases_that_came_out_lately_may_count_as_updated(trouble: State) -> None:
    entry = next(one for one in status(trouble)["components"] if one["id"] == "spyware-pattern")
    found = led(ask(console_app(trouble), "/?within=1").text)
    of, late = ("component", entry["id"]), entry["lags"]["1"]
    outdated, updated = (
        links.with_query("/clients", [of, ("state", state), ("behind", behind)])
        for state, behind in (("outdated", ">1"), ("updated,outdated", "<=1"))
    )
    assert found[outdated] == [number_text(entry["outdated"] - late)]
    assert found[updated] == [number_text(entry["updated"] + late)]


def test_clients_that_are_current_in_everything_are_a_list(state: State) -> None:
    current = status(state)["current"]
    assert led(ask(console_app(state), "/").text).get("/clients?current=yes", []) == (
        [f"{number_text(current)} current in everything"] if current else []
    )


def test_the_page_of_a_component_counts_as_the_status_does(state: State) -> None:
    for entry in status(state)["components"][:4]:
        text = unescape(ask(console_app(state), links.component(entry["id"])).text).replace("\u202f", " ")
        shown = re.search(r'id="versions">(.*?)</section>', text, re.DOTALL)
        assert shown is not None
        listed = re.findall(r'href="([^"]*)">.*?<b>([\d ]+)</b>', shown[1], re.DOTALL)
        wanted = sorted(entry["versions"].items(), key=lambda item: -item[1])[:9]
        assert listed == [
            (links.clients_running(entry["id"], version), number_text(count)) for version, count in wanted
        ]
    assert ask(console_app(state), "/components").status == 200


def test_only_who_may_act_has_buttons(trouble: State) -> None:
    for roles, shown in (
        ({"viewer"}, set()),
        ({"operator"}, {"resume", "abort"}),
        ({"viewer", "approver"}, {"approve"}),
    ):
        person = Person(who="ann", roles=frozenset(roles))  # type: ignore[arg-type]
        text = ask(console_app(trouble, person), "/").text
        assert set(re.findall(r'href="/do/([a-z]+)', text)) == shown


def test_what_needs_somebody_says_why_once(trouble: State) -> None:
    text = unescape(ask(console_app(trouble), "/").text).replace("\u202f", " ")
    assert text.count("3 of 41 clients failed, and at most 0 may") == 1
    assert "Behavior Monitoring Driver 4.660.1000 waits for your approval" in text
    assert "Source mirror-hq is stale" in text


def test_what_is_not_there_is_said_and_what_is_near(trouble: State) -> None:
    answer = ask(console_app(trouble), "/components/spyware-patern")
    assert answer.status == 404
    assert "spyware-pattern" in answer.text
    assert ask(console_app(trouble), "/?group=nobody").status == 404
    assert ask(console_app(trouble), "/?within=9").status == 400


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_no_address_breaks_a_page(trouble: State, one: str, other: str) -> None:
    path = links.with_query(
        "/", [("group", one.encode(errors="replace").decode()), ("within", other.encode(errors="replace").decode())]
    )
    assert ask(console_app(trouble), path).status in {200, 400, 404}
    assert ask(console_app(trouble), f"/components?{path[2:]}").status == 200


def test_a_site_that_is_down_needs_somebody_and_a_chosen_group_says_its_site(tmp_path: Path) -> None:
    (text,) = (_sited(state) for state in made("trouble", tmp_path))
    assert "Site lyon is down" in text
    assert "It had no worker for 4 clients of office, plant at the last look." in text
    assert "Its clients" in led(text)["/clients?reason=worker"]
    assert "of office at lyon" in text
    assert "paris is down" not in text


def test_the_page_of_a_component_says_at_which_site_clients_of_a_group_wait(tmp_path: Path) -> None:
    (text,) = (_sited(state, "/components/virus-pattern") for state in made("trouble", tmp_path))
    assert "<small>at the site lyon, down: it had no worker for 4 clients</small>" in text


def _sited(state: State, page: str = "/?group=office") -> str:
    """Show a page of a fleet with two sites, one of them down."""
    site = {"site": "lyon", "groups": ["office", "plant"], "clients": 9, "no_worker": 4}
    before = status(state)
    state.keep_snapshots(
        "status", {"": {**before, "sites": [site, {**site, "site": "paris", "groups": [], "no_worker": 0}]}}
    )
    group = state.snapshot("group", "office")
    assert group is not None
    state.keep_snapshots("group", {"office": {**group.document, "site": "lyon"}})
    return ask(console_app(state), page).text
