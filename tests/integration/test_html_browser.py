"""Pages in a browser: what people see, in light and dark, on a phone, on paper, with scripts and without."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from reconciler.present.render import render
from reconciler.present.views import FORECAST, PLAN, REPORT, STATUS
from tests import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.needs("chromium")
LONG = "a-client-with-a-name-that-has-no-end." * 4
SLOW = 120_000
"""Milliseconds that anything may take on a busy machine."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a page of each kind, in which others wrote all that they could."""
    made = tmp_path_factory.mktemp("pages")
    said = f"<script>alert(1)</script> {LONG}"
    pages = {
        "plan": render(shown.plan(said, LONG), "html", PLAN, names=True),
        "status": render(shown.status(said, LONG), "html", STATUS),
        "report": render(shown.report(said, LONG), "html", REPORT),
        "forecast": render(shown.forecast(said, LONG), "html", FORECAST),
    }
    for name, text in pages.items():
        (made / f"{name}.html").write_text(text, encoding="ascii")
    return made


@pytest.fixture(scope="session")
def heard() -> list[str]:
    """Give what pages said on their consoles, or asked anybody for."""
    return []


@pytest.fixture(scope="session")
def loaded(browser: Browser, folder: Path, heard: list[str]) -> Callable[..., Page]:
    """Give what gives a page, loaded once with scripts and once without them, and all of its folds open."""

    @cache
    def load(name: str, *, scripts: bool = True) -> Page:
        page = browser.new_context(java_script_enabled=scripts).new_page()
        page.set_default_timeout(SLOW)
        page.on("console", lambda message: heard.append(f"{name}: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"{name}: {error}"))
        page.on("dialog", lambda dialog: heard.append(f"{name}: {dialog.message}"))
        address = (folder / f"{name}.html").as_uri()
        page.on("request", lambda asked: heard.append(asked.url) if asked.url != address else None)
        page.goto(address)
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        return page

    return load


@pytest.fixture(params=["plan", "status", "report", "forecast"])
def page(request: pytest.FixtureRequest, loaded: Callable[..., Page]) -> Page:
    """Give a page as it is on a desk."""
    return on_desk(loaded(request.param))


def on_desk(page: Page) -> Page:
    page.emulate_media(media="screen", color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 800})
    return page


@pytest.fixture(autouse=True)
def quiet(heard: list[str]) -> Iterator[None]:
    """Fail a test whose page says something on its console, opens a dialog, or asks anybody for anything."""
    yield
    assert heard == []


WIDTHS = "[document.documentElement.scrollWidth, window.innerWidth]"
AXE = """rules => axe.run(document, {resultTypes: ['violations'], ...rules}).then(found => found.violations.map(
    one => one.id + ': ' + one.nodes.map(node => node.html.slice(0, 120)).join(' | ')))"""
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}


def test_nothing_on_a_page_keeps_people_from_reading_it(page: Page) -> None:
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    assert page.evaluate(AXE, {}) == []
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(AXE, COLOURS) == []


def test_a_page_fits_the_narrowest_phone_and_paper_whatever_things_are_called(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 800})
    assert page.evaluate(WIDTHS) == [320, 320]
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 1000})
    assert page.evaluate(WIDTHS) == [700, 700]


def test_a_table_is_sorted_by_the_column_whose_title_is_clicked(loaded: Callable[..., Page]) -> None:
    table = on_desk(loaded("report")).get_by_role("region", name="Recap by group").get_by_role("table")
    cells = table.locator("tbody tr td:nth-of-type(2)")
    before = cells.all_inner_texts()
    button = table.get_by_role("button", name="Changed")
    button.click()
    assert (before, cells.all_inner_texts()) == (["97", "0"], ["0", "97"])
    assert button.locator("..").get_attribute("aria-sort") == "ascending"
    button.click()
    assert cells.all_inner_texts() == ["97", "0"]


def test_without_scripts_a_page_says_the_same(loaded: Callable[..., Page]) -> None:
    bare, page = loaded("status", scripts=False), on_desk(loaded("status"))
    assert bare.locator("main").inner_text() == page.locator("main").inner_text()
    assert (bare.locator("thead button").count(), page.locator("thead button").count() > 5) == (0, True)
    fold = bare.locator("details").first
    fold.locator("summary").click()
    assert fold.get_attribute("open") is None
