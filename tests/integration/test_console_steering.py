"""Steering a fleet in a real browser: from the page that asks, over the controller, to what became of it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from reconciler.model.controller import Pause
from reconciler.model.offer import SourceReport, Withdrawal
from reconciler.model.request import Request, Target
from reconciler.model.rollout import Cut, RolloutRecord
from reconciler.present.html import links
from reconciler.specfile.desired import desired_documents
from reconciler.specfile.load import load
from reconciler.storage.outcomes import Fared
from reconciler.storage.state import State
from tests import console_states
from tests.console import NOW, console_app
from tests.fakes import make_release
from tests.fleet import Fleet
from tests.integration.test_serve import links as signed_links
from tests.integration.test_serve import serving
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.needs("chromium")
SLOW = 240_000
AXE = """() => axe.run(document, {resultTypes: ['violations']}).then(found => found.violations.map(
    one => one.id + ': ' + one.nodes.map(node => node.html.slice(0, 120)).join(' | ')))"""
WIDTHS = "[document.documentElement.scrollWidth, window.innerWidth]"

SAID = console_states.HOSTILE
ROLLOUT = RolloutRecord(
    component=f"{SAID[:40]} {console_states.LONG}".replace("/", "|"),
    version=SAID.replace("/", "|"),
    group=SAID,
    status="running",
    cuts=(Cut(f"label={SAID}"), Cut(upto=2**32 - 1)),
    sizes=(3, 97),
    structure="s",
    started=NOW,
    opened=NOW,
)


def test_who_approves_in_a_browser_has_the_controller_open_the_wave_and_stands_in_the_history(
    tmp_path: Path, browser: Browser
) -> None:
    fleet = Fleet(tmp_path, 3, controller={"interval": "1h", "look": "1h"})
    for at, client in enumerate(fleet.spec["groups"]["all"]["clients"]):
        client["labels"] = ["canary"] if not at else []
    fleet.release("rules", "1", rules_txt=b"one")
    assert fleet.apply().code == 0
    waves = [{"select": "label=canary"}, {"share": "100%", "approve": "manual"}]
    fleet.write(auto_update={"rollout": {"waves": waves}})
    fleet.release("rules", "2", rules_txt=b"two")

    def running(version: bytes) -> int:
        return sum(fleet.current(f"c{n}", "rules") == {"rules.txt": version} for n in (1, 2, 3))

    with serving(fleet, "--with-controller") as process:
        until(lambda: "next look at" in (tmp_path / "served").read_text(), process)
        assert running(b"two") == 1
        page = browser.new_context().new_page()
        page.set_default_timeout(SLOW)
        heard: list[str] = []
        page.on("console", lambda said: heard.append(said.text))
        page.route("**/favicon.ico", lambda route: route.fulfill(body=""))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.goto(signed_links(fleet)[0])
        page.get_by_role("button", name="Sign in").click()
        page.locator("nav").get_by_role("link", name="Rollouts").click()
        page.get_by_role("link", name="Approve…").click()
        assert "Wave 2 of 2 opens: 2 clients get it." in page.inner_text("main")
        page.get_by_label("Why").fill("the canary is fine")
        page.get_by_role("button", name="Approve").click()
        page.get_by_text("Wave 2 of 2 may open; the controller goes on with it").wait_for()
        until(lambda: running(b"two") == 3, process)
        assert heard == []
        who = page.inner_text(".who .name")
        page.context.close()
    run = next(one for one in fleet.run("history", "--format", "json").json if one["command"].startswith("rollout"))
    assert run["origin"]["user"] == who
    (entry,) = fleet.run("history", run["run_id"], "--format", "json").json["entries"]
    assert entry["message"] == f"wave 2 of 2 approved by {who}"


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an application from a thread of this process; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        app.state.live.end()
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give a console over a state in which others wrote all that they could."""
    folder = tmp_path_factory.mktemp("hostile")
    said = SAID
    fleet = Fleet(folder, 3, vars={"place": f"{said} {console_states.LONG}"})
    with State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW) as state:
        console_states.hostile(state)
        state.keep_snapshots("desired", desired_documents(load(fleet.folder / "updoser.yaml")))
        store = {"releases": 1, "components": 1, "incrementals": 0, "bytes": 5, "incremental_bytes": 0}
        roles = [{"role": "root", "version": 1, "expires": "2026-11-29T11:00:00Z"}]
        repository = {"path": said, "roles": roles, "releases": 1, "renew": said, "error": said}
        places = {"store": {**store, "path": said, "problems": [said]}, "repository": repository}
        state.keep_snapshots("places", {"": places})
        report = SourceReport(said, (make_release("rules", "1", {"f": b"x"}),), problems=(said,), error=said)
        state.record_source(report, NOW)
        state.record_source(SourceReport("vendor", withdrawn=(Withdrawal("rules", "1", said),)), NOW)
        state.pause_controller(Pause(who=said, reason=said, since=NOW))
        target = Target(component=said, version=said)
        asked = Request(at=NOW, who=said, kind="block", target=target, reason=said, address=said, roles=("operator",))
        state.settle(state.ask(asked), "done", f"{said}\n\n+{said}\n-{console_states.LONG}")
        state.record_rollout(ROLLOUT)
        state.record_rollout(replace(ROLLOUT, status="halted", reason=said))
        state.record_rollout(replace(ROLLOUT, version="over", status="aborted", reason=said))
        state.record_fared([(said, Fared(ROLLOUT.key, said))])
        with served(console_app(state)) as address:
            yield address


ONE, ABORT = links.rollout(*ROLLOUT.key), links.do("abort", *ROLLOUT.key)
PAGES = ("/rollouts", ONE, ABORT, "/do/pause_controller", "/do/pin", "/requests/1", "/plan", "/sources", "/desired")


@pytest.fixture(scope="module")
def opened(address: str, browser: Browser) -> Callable[..., Page]:
    """Give what opens a page, with scripts or without."""

    @cache
    def open_page(path: str, *, scripts: bool = True) -> Page:
        page = browser.new_context(java_script_enabled=scripts).new_page()
        page.set_default_timeout(SLOW)
        page.on("dialog", lambda dialog: pytest.fail(f"{path}: {dialog.message}"))
        page.on("request", lambda asked: None if asked.url.startswith(address) else pytest.fail(asked.url))
        answer = page.goto(address + path)
        assert answer is not None
        assert answer.status == 200, path
        return page

    return open_page


@pytest.mark.parametrize("path", PAGES, ids=range(len(PAGES)))
def test_nothing_keeps_people_from_reading_or_using_a_page_whatever_others_wrote(
    opened: Callable[..., Page], path: str
) -> None:
    page = opened(path)
    for fold in page.locator("details").all():
        fold.evaluate("each => { each.open = true }")
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    page.set_viewport_size({"width": 1280, "height": 800})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(AXE) == []
    page.set_viewport_size({"width": 320, "height": 800})
    assert page.evaluate(WIDTHS) == [320, 320]
    assert page.locator("main script, main img").count() == 0


@pytest.mark.parametrize("path", ["/rollouts", ABORT, "/desired"], ids=["rollouts", "abort", "desired"])
def test_a_page_is_whole_without_scripts(opened: Callable[..., Page], path: str) -> None:
    assert opened(path, scripts=False).inner_text("main") != ""
    assert opened(path, scripts=False).locator("main form button").first.is_visible()
