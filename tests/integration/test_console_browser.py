"""Pages of the console in a browser, over states made for it: nothing keeps anybody from reading or using them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from reconciler.storage.state import State
from tests.console import NOW, console_app
from tests.console_browser import HOST, WIDTHS, faults, open_page
from tests.console_states import MADE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.needs("chromium")
PATHS = ("/", "/components", "/components/spyware-pattern")
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}


@pytest.fixture(scope="module")
def heard() -> list[str]:
    return []


@pytest.fixture(scope="module")
def opened(
    browser: Browser, heard: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Page]]:
    """Give what gives a page over a state that is made, one for each state and way to look at it."""
    states: list[State] = []

    @cache
    def page(name: str, *, scripts: bool = True) -> Page:
        folder = tmp_path_factory.mktemp(name)
        state = State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW)
        states.append(state)
        MADE[name](state)
        return open_page(browser, console_app(state), heard, java_script_enabled=scripts)

    yield page
    for state in states:
        state.close()


@pytest.fixture(autouse=True)
def quiet(heard: list[str]) -> Iterator[None]:
    """Fail a test whose page says something on its console, opens a dialog, or asks anybody else for anything."""
    heard.clear()
    yield
    assert heard == []


def desk(page: Page, path: str) -> Page:
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(media="screen", color_scheme="light", forced_colors="none")
    page.goto(f"{HOST}{path}")
    return page


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", ["busy", "hostile"])
def test_nothing_on_a_page_keeps_people_from_reading_it(opened: Callable[..., Page], name: str, path: str) -> None:
    page = desk(opened(name), path)
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


@pytest.mark.parametrize("name", ["empty", "fine", "huge"])
def test_a_summary_can_be_read_whatever_there_is_to_say(opened: Callable[..., Page], name: str) -> None:
    page = desk(opened(name), "/")
    assert faults(page) == []


def test_what_others_wrote_stays_text(opened: Callable[..., Page]) -> None:
    for path in PATHS:
        page = desk(opened("hostile"), path)
        assert page.locator("img").count() == 0
        assert "alert('x')" in page.inner_text("body")


def test_all_can_be_chosen_and_reached_without_scripts(opened: Callable[..., Page]) -> None:
    page = desk(opened("trouble", scripts=False), "/")
    page.get_by_label("Group").select_option("branch")
    page.get_by_label("Counts as updated").select_option(label="1 release behind, too")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(f"{HOST}/?group=branch&within=1")
    assert page.get_by_role("heading", level=1).inner_text().startswith("17 of 20 components are current on every")
    page.get_by_role("link", name="Spyware Pattern", exact=True).click()
    page.wait_for_url(f"{HOST}/components/spyware-pattern")


def test_on_a_phone_the_pages_are_behind_a_button(opened: Callable[..., Page]) -> None:
    page = desk(opened("trouble", scripts=False), "/")
    assert page.get_by_role("link", name="Components", exact=True).is_visible()
    assert page.get_by_role("button", name="Pages").is_hidden()
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.get_by_role("link", name="Components", exact=True).is_hidden()
    page.get_by_role("button", name="Pages").click()
    page.get_by_role("link", name="Components", exact=True).click()
    page.wait_for_url(f"{HOST}/components")


def test_a_run_under_way_is_seen_with_how_far_it_is(opened: Callable[..., Page]) -> None:
    page = desk(opened("busy"), "/")
    bar = page.get_by_role("progressbar")
    assert (bar.get_attribute("value"), bar.get_attribute("max")) == ("3301", "4821")
    assert page.get_by_role("link", name="Follow it").get_attribute("href") == "/runs/20261129T100004-run"
    page.emulate_media(forced_colors="active")
    assert bar.is_visible()
