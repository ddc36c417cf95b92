"""Makes docs/pictures/console-*.png: pages of the console as a browser shows them.

    python docs/make/console_pictures.py

The Summary is that of a made fleet on a busy day; all others are of the demo on its third day, on which two releases
are bad: real commands, the real console and its controller. Needs Chromium.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

from reconciler.storage.state import State
from tests import console_states
from tests.console import NOW, console_app
from tests.console_browser import HOST, open_page
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs/pictures"
TALLEST = 1500
"""Pixels of a page that are shown."""
DEMO = {
    "component": "/components/virus-pattern",
    "clients": "/clients?component=virus-pattern&state=outdated",
    "client": "/clients/pc-1",
    "rollout": "/rollouts/virus-pattern/15.787.00",
    "resume": "/do/resume?component=virus-pattern&version=15.787.00",
    "runs": "/runs",
    "plan": "/plan",
    "desired": "/desired",
}
SIZES: dict[str, dict[str, Any]] = {
    "": {"viewport": {"width": 1280, "height": 900}},
    "-dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "-phone": {"viewport": {"width": 390, "height": 844}},
}


def shoot(page: Any, name: str) -> None:
    """Make a picture of what a page shows now."""
    page.wait_for_load_state("load")
    size = page.viewport_size
    height = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST)
    page.set_viewport_size({"width": size["width"], "height": height})
    page.screenshot(path=PICTURES / f"console-{name}.png")
    page.set_viewport_size(size)


def made_fleet(browser: Browser, folder: Path) -> None:
    """Show the Summary of a made fleet."""
    with State.open(f"sqlite:///{folder}/state.db", clock=lambda: NOW) as state:
        console_states.MADE["busy"](state)
        state.pause_controller(None)
        app = console_app(state)
        for suffix, look in SIZES.items():
            page = open_page(browser, app, [], **look)
            page.goto(f"{HOST}/")
            page.wait_for_selector(".live-note")
            page.evaluate("for (const note of document.querySelectorAll('.live-note')) note.remove()")
            shoot(page, f"summary{suffix}")
        console_states.HELD.close()


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """Serve the demo on its third day, and give the link to sign in by."""
    shutil.copy(ROOT / "updoser.yaml", folder)
    updoser = [sys.executable, "-m", "reconciler"]
    for day in ("day=1", "day=2"):
        subprocess.run(
            [*updoser, "-q", "apply", "--auto-approve", "-e", day], cwd=folder, check=True, capture_output=True
        )
    told = folder / "told"
    with told.open("w") as said:
        words = ("serve", "--with-controller", "--listen", "127.0.0.1:0", "-e", "day=3")
        console = subprocess.Popen([*updoser, *words], cwd=folder, stdout=said, stderr=said)
    try:
        until(lambda: "next look at" in told.read_text(encoding="utf-8"), console)
        yield re.findall(r"http://\S+/sign-in\?\S+", told.read_text(encoding="utf-8"))[0]
    finally:
        console.terminate()
        console.wait()


def real_pages(browser: Browser, folder: Path) -> None:
    """Show pages of the demo."""
    with demo(folder) as link:
        page = browser.new_context(**SIZES[""]).new_page()
        page.goto(link)
        page.locator("main button").first.click()
        page.wait_for_url(re.compile(r"/$"))
        place = urlsplit(link)
        for name, path in DEMO.items():
            page.goto(f"{place.scheme}://{place.netloc}{path}")
            shoot(page, name)


def main() -> None:
    """Make all pictures."""
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, TemporaryDirectory() as first, TemporaryDirectory() as second:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        made_fleet(browser, Path(first))
        real_pages(browser, Path(second))
        browser.close()


if __name__ == "__main__":
    main()
