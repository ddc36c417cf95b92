"""The script of the console in a real browser: what is new comes by itself, and what somebody does stays."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route

from reconciler.console import events
from reconciler.console.guard.headers import POLICY
from reconciler.console.live import Live, look_at
from reconciler.console.pages import statics
from reconciler.model.controller import RunProgress
from reconciler.present.html.pages import static_address
from reconciler.storage.state import State
from tests.console import NOW, SOMEBODY, SignedIn
from tests.ports import free_port
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page
    from starlette.requests import Request
    from starlette.responses import Response

pytestmark = pytest.mark.needs("chromium")
SLOW = 120_000
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"/><title>A page</title>
<link rel="stylesheet" href="{css}"/>
<script src="{tables}" defer></script><script src="{script}" defer></script></head><body><main>
<h1>A page</h1>
<section data-live="facts"><b id="clients">{clients}</b> clients
<details><summary>More of {clients}</summary><p>Inside</p></details></section>
<section data-live="steady"><details id="steady"><summary>Steady</summary></details></section>
<section data-live="find"><p id="found">{clients}</p>
<form><label>Name <input name="q" value=""/></label></form></section>
<section data-live="table"><table class="sorts"><thead><tr><th>Name</th><th>Number</th></tr></thead>
<tbody><tr><td>b</td><td>{clients}</td></tr><tr><td>a</td><td>1</td></tr></tbody></table></section>
<div data-live="run"><progress data-progress="bar" max="7" value="0"></progress><i data-progress="finished">0</i></div>
<p><time datetime="2026-11-29T11:55:00Z" title="2026-11-29 11:55:00 UTC">5 min ago</time>,
<time id="plain" datetime="2026-11-29T11:55:00Z">2026-11-29 11:55 UTC</time></p>
<form id="choice" data-submits action="/chosen"><select name="group" aria-label="Group">
<option>all</option><option>office</option></select> <button class="js-no">Show</button></form>
</main></body></html>"""


@dataclass
class Console:
    """A console with one page, on a port of its own; it can be ended and begun again."""

    state: State
    clients: int = 1
    asked: int = 0
    port: int = field(default_factory=free_port)
    app: Starlette = field(init=False)
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    def page(self, _request: Request) -> Response:
        """Give the page."""
        self.asked += 1
        names = {"css": "console.css", "tables": "tables.js", "script": "console.js"}
        text = PAGE.format(clients=self.clients, **{key: static_address(name) for key, name in names.items()})
        return HTMLResponse(text, headers={"Content-Security-Policy": POLICY})

    def begin(self) -> None:
        """Begin to serve."""
        routes = [
            Route("/", self.page),
            Route("/favicon.ico", lambda _request: PlainTextResponse("")),
            Route("/chosen", lambda request: PlainTextResponse(f"chosen {request.query_params['group']}")),
            *events.ROUTES,
            *statics.ROUTES,
        ]
        self.app = Starlette(routes=routes, middleware=[Middleware(SignedIn, person=SOMEBODY)])
        self.app.state.live = Live(partial(look_at, self.state), lambda: NOW, every=0.05)
        config = uvicorn.Config(self.app, port=self.port, lifespan="off", log_level="critical")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        until(lambda: self._server and self._server.started)

    def end(self) -> None:
        """Serve no more."""
        if self._server is not None and self._thread is not None:
            self.app.state.live.end()
            self._server.should_exit = True
            self._thread.join()

    def change(self, clients: int) -> None:
        """Have the page say something else."""
        self.clients = clients
        self.state.keep_snapshots("status", {"": {"clients": clients}})


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    with State.open(f"sqlite:///{tmp_path}/state.db", clock=lambda: NOW) as state:
        console = Console(state)
        console.begin()
        yield console
        console.end()


@pytest.fixture
def heard() -> list[str]:
    """Give what a page said on its console."""
    return []


@pytest.fixture
def page(console: Console, browser: Browser, heard: list[str]) -> Iterator[Page]:
    """Give the page as it is when it listens."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(SLOW)
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.goto(f"http://127.0.0.1:{console.port}/")
    page.wait_for_selector("html[data-live=on]")
    yield page
    context.close()


def says(page: Page, selector: str, text: str) -> None:
    page.locator(selector).get_by_text(text).wait_for(state="attached")


def test_what_is_new_comes_by_itself_and_what_somebody_does_stays(
    page: Page, console: Console, heard: list[str]
) -> None:
    page.locator("[data-live=facts] summary").click()
    steady = page.locator("#steady")
    steady.locator("summary").click()
    steady.evaluate("each => { each.mine = true; }")
    page.get_by_role("button", name="Name").click()
    field = page.get_by_label("Name", exact=True)
    field.fill("web-")
    field.evaluate("each => each.setSelectionRange(1, 3)")
    console.change(2)
    says(page, "#clients", "2")
    assert page.locator("[data-live=facts] details").get_attribute("open") is not None
    assert steady.evaluate("each => [each.open, each.mine]") == [True, True]
    says(page, "#found", "2")
    assert field.input_value() == "web-"
    assert page.evaluate("[document.activeElement.name, document.activeElement.selectionStart]") == ["q", 1]
    assert page.locator("tbody td:first-child").all_inner_texts() == ["a", "b"]
    assert page.locator("tbody td:last-child").all_inner_texts() == ["1", "2"]
    assert page.locator("th").first.get_attribute("aria-sort") == "ascending"
    says(page, "[role=status]", "Updated at")
    assert heard == []


def test_what_somebody_selected_to_copy_stays_until_it_is_no_more(page: Page, console: Console) -> None:
    page.evaluate("getSelection().selectAllChildren(document.querySelector('[data-live=facts]'))")
    console.change(2)
    says(page, "#found", "2")
    assert page.locator("#clients").inner_text() == "1"
    page.evaluate("getSelection().removeAllRanges()")
    says(page, "#clients", "2")


def test_how_far_a_run_is_moves_on_the_page(page: Page, console: Console, heard: list[str]) -> None:
    progress = RunProgress(run_id="r", command="apply", started=NOW, clients=7000)
    for finished, shown in ((3000, "3\u202f000"), (7000, "7\u202f000")):
        console.state.report_progress(RunProgress(**{**vars_of(progress), "finished": finished}))
        says(page, "[data-progress=finished]", shown)
        assert page.locator("progress").evaluate("bar => [bar.value, bar.max]") == [finished, 7000]
    assert heard == []


def vars_of(progress: RunProgress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in RunProgress.__dataclass_fields__}


def test_a_page_says_that_the_connection_is_lost_and_is_new_again_when_it_is_back(page: Page, console: Console) -> None:
    console.end()
    page.get_by_text("The connection is lost since").wait_for()
    assert page.locator("html[data-live=on]").count() == 0
    console.change(5)
    console.begin()
    says(page, "#clients", "5")
    page.get_by_text("The connection is lost since").wait_for(state="detached")
    page.wait_for_selector("html[data-live=on]", state="attached")


def test_a_page_that_nobody_sees_listens_to_nothing_and_is_new_when_it_is_seen(page: Page, console: Console) -> None:
    hide = "hidden => {Object.defineProperty(document, 'hidden', {value: hidden, configurable: true}); "
    hide += "document.dispatchEvent(new Event('visibilitychange'))}"
    live: Any = console.app.state.live
    until(lambda: len(live._listeners) == 1)
    page.evaluate(hide, True)
    until(lambda: not live._listeners)
    asked = console.asked
    console.change(3)
    page.evaluate(hide, False)
    says(page, "#clients", "3")
    assert console.asked == asked + 1


def test_times_say_how_long_ago_by_the_clock_of_the_server_and_dates_stay_dates(page: Page) -> None:
    says(page, "main", "5\u202fmin ago")
    assert page.locator("#plain").inner_text() == "2026-11-29 11:55 UTC"


def test_a_choice_counts_when_it_is_made_and_by_keyboard_when_it_is_left(page: Page, console: Console) -> None:
    choice = page.get_by_label("Group")
    assert not page.get_by_role("button", name="Show").is_visible()
    choice.focus()
    page.keyboard.press("ArrowDown")
    assert choice.input_value() == "office"
    assert page.url.endswith(f":{console.port}/")
    page.keyboard.press("Tab")
    page.wait_for_url("**/chosen?group=office")
    page.goto(f"http://127.0.0.1:{console.port}/")
    page.wait_for_selector("html[data-live=on]")
    choice.select_option("office")
    page.wait_for_url("**/chosen?group=office")


def test_without_scripts_a_choice_has_a_button_and_nothing_is_asked(console: Console, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{console.port}/")
    page.get_by_label("Group").select_option("office")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/chosen?group=office")
    assert not console.app.state.live._listeners
    context.close()
