"""The first page: how the fleet is, and what needs somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from reconciler.console.frame import console_of, shown
from reconciler.present.html.status_view import view_of_status

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def summary(request: Request) -> Response:
    """Show the Summary."""
    found = console_of(request).state.snapshot("status")
    if found is None:
        return shown(request, "console_empty.html", None, tab="/")
    view = view_of_status({"groups": [], **found.document})
    return shown(request, "console_summary.html", view, tab="/", shown_at=found.at)


ROUTES = (Route("/", summary),)
