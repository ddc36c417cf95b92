"""Pages that many look at, made once for all of them: when something changes, each page that is open asks at once.

A page is given again only where it would be made the same: by the same address, for somebody with the same roles,
within the same second, and while nobody wrote anything to the state. Who looks stands in it as a mark, which is
replaced for each; no text of somebody else can be one, as nobody knows them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import HTMLResponse

from reconciler.console.frame import Person, console_of, person_of, tagged
from reconciler.present.html.spelling import spelled

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from starlette.responses import Response

_PAGES = 32
_LARGEST = 256 * 1024
"""How many pages are remembered, and how large one may be, in bytes."""


@dataclass(eq=False, slots=True)
class _Page:
    """A page with marks in it; empty where it isn't made yet, or isn't one to remember."""

    making: Lock = field(default_factory=Lock)
    body: bytes = b""


class SharedPages:
    """The pages that were made last. Safe in threads: of all who want the same one, the first makes it."""

    def __init__(self) -> None:
        """Have none yet."""
        self._lock = Lock()
        self._pages: dict[Hashable, _Page] = {}
        self._who, self._csrf = (f"{what}-{secrets.token_hex(16)}" for what in ("who", "csrf"))

    def give(self, request: Request, make: Callable[[Request], Response]) -> Response:
        """Give the page that a request asks for; `make` doesn't know who asks, but for their roles.

        Raises:
            StateError: the state can't be read.
            HTTPException: there is no such page, or it can't be asked for like that.
        """
        console, person = console_of(request), person_of(request)
        # A page may be newer than the version that was read before it; by then the version is another one, too.
        version, second = console.state.version(), int(console.clock().timestamp())
        address = (request.url.path, request.url.query)
        page = self._page((version, second, address, person.roles, person.way, bool(person.csrf)))
        with page.making:
            if not page.body:
                made = make(self._of_anybody(request, person))
                if not isinstance(made, HTMLResponse):
                    return made
                body = bytes(made.body)
                if made.status_code != HTTPStatus.OK or len(body) > _LARGEST:
                    return self._of(request, body, person, made.status_code)
                page.body = body
        return self._of(request, page.body, person)

    def _page(self, key: Hashable) -> _Page:
        with self._lock:
            page = self._pages[key] = self._pages.pop(key) if key in self._pages else _Page()
            while len(self._pages) > _PAGES:
                del self._pages[next(iter(self._pages))]
        return page

    def _of_anybody(self, request: Request, person: Person) -> Request:
        """Give a request of nobody in particular: a page with marks has a tag that no browser knows."""
        marked = replace(person, who=self._who, csrf=self._csrf if person.csrf else "")
        return Request({**request.scope, "updoser.person": marked})

    def _of(self, request: Request, body: bytes, person: Person, status: int = HTTPStatus.OK) -> Response:
        """Give a page to who asked for it."""
        named = body.replace(self._who.encode(), spelled(person.who).encode())
        return tagged(request, HTMLResponse(named.replace(self._csrf.encode(), spelled(person.csrf).encode()), status))
