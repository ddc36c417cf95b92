"""Clients, runs and the audit in a browser: all is read, asked for and reached, with scripts and without."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.controller import RunProgress
from reconciler.model.report import JournalEntry
from reconciler.model.request import Request, Target
from reconciler.storage.state import State
from tests import shown
from tests.console import NOW, console_app
from tests.console_browser import HOST, WIDTHS, faults, open_page
from tests.console_clients import ODD, fleet, keep_fleet
from tests.console_states import HOSTILE, LONG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.needs("chromium")
PATHS = (
    "/clients?group=branch&group=office&seen=%3C30d",
    "/clients?state=outdatet&group=branch",
    "/clients/silent-1",
    "/runs",
    "/runs/r-failed",
    "/runs/r-live?outcome=failed",
    "/audit?kind=apply&kind=command&kind=request",
)
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}
SAID = ("Failed to load resource: the server responded with a status of",)
"""What a browser says of pages that say what is wrong."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Give a console over a fleet in which others wrote all that they could, while a run is under way."""
    folder = tmp_path_factory.mktemp("lists")
    with State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW) as state:
        keep_fleet(state, fleet(120, HOSTILE))
        for name in ("r-dead", "r-failed", "r-live"):
            state.begin_run(name, "p", "apply", NOW, {"ci": HOSTILE, "actor": LONG, "job": f"https://ci/{LONG}"})
            state.journal(name, [*map(_failed, (LONG, ODD, HOSTILE[:200], "branch-1"))])
        state.end_run("r-failed", "failed", shown.report(HOSTILE, LONG), NOW)
        state.begin_run("r-0", "", f"rollout abort {HOSTILE}", NOW, {"user": HOSTILE, "host": LONG})
        state.journal("r-0", [JournalEntry(outcome="aborted", message=HOSTILE, at=NOW)])
        state.end_run("r-0", "done", {}, NOW)
        target = Target(component=LONG, version=HOSTILE[:100], group=HOSTILE)
        state.ask(Request(at=NOW, who=HOSTILE, kind="abort", target=target, reason=HOSTILE, address=LONG))
        with state.lock("apply"):
            progress = RunProgress(run_id="r-live", command="apply", started=NOW, step=HOSTILE, clients=8, finished=3)
            state.report_progress(progress)
            yield console_app(state)


def _failed(client: str) -> JournalEntry:
    return JournalEntry(
        client=client, group=HOSTILE[:200], component=LONG[:64], to_version=HOSTILE[:100], outcome="failed",
        message=HOSTILE, at=NOW, reason="check",
    )  # fmt: skip


@pytest.fixture(scope="module")
def heard() -> list[str]:
    """Give what pages said, or asked others for."""
    return []


@pytest.fixture(scope="module")
def opened(browser: Browser, app: Any, heard: list[str]) -> Callable[..., Page]:
    """Give what gives a page, one with scripts and one without."""

    @cache
    def page(*, scripts: bool = True) -> Page:
        return open_page(browser, app, heard, java_script_enabled=scripts)

    return page


@pytest.fixture(autouse=True)
def quiet(heard: list[str]) -> Iterator[None]:
    """Fail a test whose page says something on its console, opens a dialog, or asks anybody else for anything."""
    heard.clear()
    yield
    assert [said for said in heard if not said.removeprefix("console: ").startswith(SAID)] == []


def desk(page: Page, path: str) -> Page:
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(media="screen", color_scheme="light", forced_colors="none")
    page.goto(f"{HOST}{path}")
    return page


@pytest.mark.parametrize("path", PATHS)
def test_nothing_on_a_page_keeps_people_from_reading_it(opened: Callable[..., Page], path: str) -> None:
    page = desk(opened(), path)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert faults(page) == []
    page.emulate_media(color_scheme="dark")
    assert faults(page, **COLOURS) == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert faults(page) == []
    page.set_viewport_size({"width": 320, "height": 800})
    assert page.evaluate(WIDTHS) == [320, 320]
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 1000})
    assert page.evaluate(WIDTHS) == [700, 700]
    assert page.locator("main img, main script").count() == 0


def test_clients_are_asked_for_and_looked_at_without_scripts(opened: Callable[..., Page]) -> None:
    page = desk(opened(scripts=False), "/clients")
    assert page.get_by_role("heading", level=1).inner_text() == "129 clients"
    page.get_by_label("outdated").check()
    page.get_by_label("Group", exact=True).fill("branch")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url(f"{HOST}/clients?state=outdated&name=&group=branch&**")
    assert page.get_by_role("heading", level=1).inner_text() == "4 clients"
    assert page.locator("tbody tr").count() == 4
    page.get_by_label("or Group").fill("office")
    page.get_by_text("More fields").click()
    page.get_by_label("Last seen").fill("<1d")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**&group=office&**")
    assert page.locator("tbody tr").count() == 5
    page.get_by_role("link", name=ODD).click()
    assert page.get_by_role("heading", level=1).inner_text() == ODD
    page.get_by_role("link", name="r-dead").click()
    assert page.get_by_role("heading", name="This run was broken off").is_visible()


def test_all_clients_are_leafed_through_without_scripts(opened: Callable[..., Page]) -> None:
    page = desk(opened(scripts=False), "/clients")
    seen = page.locator("tbody th > a").all_inner_texts()
    page.get_by_role("link", name="Next").click()
    page.get_by_role("link", name="Previous").wait_for()
    seen += page.locator("tbody th > a").all_inner_texts()
    assert sorted(seen) == sorted(one.name for one in fleet(120))


def test_failures_of_a_run_lead_to_its_journal_and_to_each_client(opened: Callable[..., Page]) -> None:
    page = desk(opened(), "/runs/r-live")
    assert page.get_by_role("heading", level=1).inner_text() == "Apply: 3 of 8 clients so far."
    page.get_by_role("heading", name="Check failed").get_by_role("link", name="4 clients").click()
    page.wait_for_url("**/runs/r-live?reason=check#journal")
    journal = page.get_by_role("region", name="Journal, table")
    assert journal.locator("tbody tr").count() == 4
    journal.get_by_role("link", name=ODD).click()
    assert page.get_by_role("heading", level=1).inner_text() == ODD
