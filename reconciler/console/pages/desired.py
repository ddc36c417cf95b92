"""The page of what is wanted: each value with the line of the file that it came from. It is changed there only."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.routing import Route

from reconciler.console.frame import console_of, shown
from reconciler.present.html.desired_view import SHOWN, sections_to_show, view_of_desired

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def desired(request: Request) -> Response:
    """Show what is wanted: a section, what has a word in it, or all where that isn't much."""
    state = console_of(request).state
    index = state.snapshot("desired")
    if index is None:
        return shown(request, "console_empty.html", None, tab="/desired")
    asked = {name: request.query_params.get(name, "") for name in ("at", "q", "show")}
    if asked["show"] not in SHOWN:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "`show` is `written`, or left out.")
    known: Any = index.document
    if asked["at"] and asked["at"] not in {one["section"] for one in known["sections"]}:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no section {asked['at']} in what is wanted.")
    documents = [
        found.document
        for name in sections_to_show(known, asked)
        if (found := state.snapshot("desired", name)) is not None
    ]
    view = view_of_desired(known, documents, asked)
    return shown(request, "console_desired.html", view, tab="/desired", shown_at=index.at)


ROUTES = (Route("/desired", desired),)
