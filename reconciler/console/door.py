"""What is said before somebody is in: pages without a frame, and for programs a document or a line of text."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import HTMLResponse, PlainTextResponse, Response

from reconciler.console.guard.caller import header
from reconciler.present.html.pages import console_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

PROGRAMS = ("/api/", "/events", "/hooks/", "/metrics")
"""Where programs ask."""


class Door(NamedTuple):
    """A page before the frame. `link` is what the link that `serve` showed brings, `next` where to go afterwards.

    `ways` are addresses that lead on, with what stands on them.
    """

    title: str
    why: str = ""
    todo: str = ""
    link: str = ""
    next: str = "/"
    ways: tuple[tuple[str, str], ...] = ()


def door(view: Door, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """Show a page before the frame."""
    return HTMLResponse(console_page("console_door.html", view, None), status, headers=dict(headers or {}))


def refuse(
    scope: Scope, status: HTTPStatus, why: str, todo: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    """Say why not, in the form that is asked for."""
    if is_for_programs(scope["path"]):
        said = {"title": status.phrase, "status": int(status), "detail": f"{why}; {todo}" if todo else why}
        return Response(json.dumps(said), status, media_type="application/problem+json", headers=dict(headers or {}))
    if "text/html" in header(scope, "accept"):
        return door(Door(status.phrase, f"{why[:1].upper()}{why[1:]}.", todo), status, headers)
    return PlainTextResponse(
        f"{status.phrase}: {why}\n" + (f"{todo}\n" if todo else ""), status, headers=dict(headers or {})
    )


def is_for_programs(path: str) -> bool:
    """Say whether programs ask there, and want no page."""
    return path.startswith(PROGRAMS)
