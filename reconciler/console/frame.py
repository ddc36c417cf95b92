"""What all pages share: the state that they read, who looks at them, and the frame around what they show.

A page is a plain function that runs in a thread. It reads the state, makes a view of what it read, and gives that to
`shown`. It computes nothing of the fleet: what takes longer than a look at a table is a snapshot of the controller.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from starlette.responses import HTMLResponse, Response

from reconciler.present.html.frame_view import Around, Known, around
from reconciler.present.html.pages import console_page

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from datetime import datetime

    from starlette.requests import Request

    from reconciler.model.request import Role
    from reconciler.storage.sessions import SignInWay
    from reconciler.storage.snapshots import Snapshot, SnapshotKind
    from reconciler.storage.state import State


_VIEWS = 32
"""How many views are remembered."""


class Views:
    """Views that were made last, by all that they were made from: many look at the same fleet. Safe in threads."""

    def __init__(self) -> None:
        """Have none yet."""
        self._lock = Lock()
        self._made: dict[Hashable, Any] = {}

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Give the view of a key; it is made when there is none."""
        with self._lock:
            known = self._made.get(key)
        if known is None:
            known = make()
            with self._lock:
                self._made[key] = known
                while len(self._made) > _VIEWS:
                    del self._made[next(iter(self._made))]
        return known


@dataclass(frozen=True, slots=True)
class Console:
    """What the pages read, and how they may be reached; one for the process.

    `hook` is the secret that a forge knows; empty: none tells of pushes.
    """

    state: State
    clock: Callable[[], datetime]
    four_eyes: bool = False
    hook: str = field(default="", repr=False)
    views: Views = field(default_factory=Views)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who looks. `csrf` is what their forms must bring back; empty where they can't write."""

    who: str
    roles: frozenset[Role] = field(default_factory=frozenset)
    way: SignInWay = "link"
    csrf: str = ""

    def may(self, role: Role) -> bool:
        """Say whether somebody has a role."""
        return role in self.roles


class Tab(NamedTuple):
    """A page of the navigation."""

    path: str
    title: str


TABS = (
    Tab("/", "Summary"),
    Tab("/components", "Components"),
    Tab("/rollouts", "Rollouts"),
    Tab("/clients", "Clients"),
    Tab("/sources", "Sources"),
    Tab("/runs", "Runs"),
    Tab("/plan", "Plan"),
    Tab("/desired", "Desired state"),
    Tab("/audit", "Audit"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What stands around each page. `tab` is the path of the page of the navigation that it belongs to.

    `shown_at` is from when the data of the page is; None: from now.
    """

    tab: str
    person: Person
    now: datetime
    shown_at: datetime | None
    around: Around
    tabs: tuple[Tab, ...] = TABS


def console_of(request: Request) -> Console:
    """Give what the pages read."""
    return cast("Console", request.app.state.console)


def person_of(request: Request) -> Person:
    """Give who looks; whoever isn't signed in gets no further than the sign-in."""
    return cast("Person", request.scope["updoser.person"])


async def body_of(request: Request, most: int) -> bytes | None:
    """Read what a request brings; None where that is more than so many bytes."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            return None
    return body


def snapshot_of(request: Request, kind: SnapshotKind, name: str = "") -> Snapshot | None:
    """Give a document of the controller; one that a request asks for twice is read and parsed once."""
    asked = request.scope.setdefault("updoser.snapshots", {})
    if (kind, name) not in asked:
        asked[kind, name] = console_of(request).state.snapshot(kind, name)
    return cast("Snapshot | None", asked[kind, name])


def shown(
    request: Request,
    template: str,
    view: Any,
    *,
    tab: str,
    shown_at: datetime | None = None,
    status: int = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Show a view in its template, with the frame around it."""
    console, person = console_of(request), person_of(request)
    state, now, found = console.state, console.clock(), snapshot_of(request, "status")
    controller, progress, waiting = state.standing()
    known = Known(
        now=now,
        status=found.document if found else None,
        shown_at=found.at if found else None,
        controller=controller,
        progress=progress,
        busy=progress is not None and bool(state.busy()),
        waiting=waiting,
    )
    frame = Frame(tab=tab, person=person, now=now, shown_at=shown_at, around=around(known, person.roles))
    text = console_page(template, view, frame)
    return tagged(request, HTMLResponse(text, status, headers=dict(headers or {})))


def tagged(request: Request, response: Response) -> Response:
    """Give a page its tag; one that the browser has isn't sent again."""
    response.headers["ETag"] = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    if response.status_code == HTTPStatus.OK and request.headers.get("if-none-match") == response.headers["ETag"]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": response.headers["ETag"]})
    return response


def csrf_of(secret: str) -> str:
    """Give what forms of a session bring back: nobody who only sees it can tell the secret of the session."""
    return hmac.new(secret.encode(), b"updoser console form", "sha256").hexdigest()
