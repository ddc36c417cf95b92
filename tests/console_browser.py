"""The console in a browser: pages come out of its application in this process, under the policy that it is served with.

Nothing listens: what a page asks for is answered from the application, and what is of another host is written down.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from tests.console import ask

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

HOST = "http://console.test"
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
SLOW = 120_000
"""Milliseconds that anything may take on a busy machine."""
WIDTHS = "[document.documentElement.scrollWidth, window.innerWidth]"
AXE = """rules => axe.run(document, {resultTypes: ['violations'], ...rules}).then(found => found.violations.map(
    one => one.id + ': ' + one.nodes.map(node => node.html.slice(0, 160)).join(' | ')))"""
_ASKING = ThreadPoolExecutor(1, "console")
"""Playwright has an event loop of its own in the thread of a test."""


def open_page(browser: Browser, app: Any, heard: list[str], **context: Any) -> Page:
    """Open a page of a browser whose requests the application answers; `heard` takes what should never be heard."""
    page = browser.new_context(**context).new_page()
    page.set_default_timeout(SLOW)

    def answer(route: Route) -> None:
        address = route.request.url
        if not address.startswith(f"{HOST}/"):
            heard.append(f"asked {address}")
            route.abort()
            return
        body = (route.request.post_data or "").encode()
        path = address.removeprefix(HOST)
        if path.startswith("/events"):  # what stays open isn't tested here
            route.fulfill(status=204)
            return
        found = _ASKING.submit(ask, app, path, method=route.request.method, body=body).result()
        route.fulfill(
            status=found.status, headers={**found.headers, "content-security-policy": POLICY}, body=found.body
        )

    page.route("**/*", answer)
    page.on("console", lambda message: heard.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("dialog", lambda dialog: heard.append(f"dialog: {dialog.message}"))
    return page


def faults(page: Page, **rules: Any) -> list[str]:
    """Give what keeps people from reading a page."""
    if not page.evaluate("'axe' in window"):
        page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found: list[str] = page.evaluate(AXE, rules)
    return found
