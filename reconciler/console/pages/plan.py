"""The page of the last plan: what a round of the controller decided, and what keeps it from being carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from reconciler.console.frame import console_of, shown
from reconciler.present.html.console_plan_view import view_of_last_plan

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def plan(request: Request) -> Response:
    """Show the last plan."""
    state = console_of(request).state
    found = state.snapshot("plan")
    if found is None:
        return shown(request, "console_empty.html", None, tab="/plan")
    controller, progress, _waiting = state.standing()
    view = view_of_last_plan(found.document, controller, progress)
    return shown(request, "console_plan.html", view, tab="/plan", shown_at=found.at)


ROUTES = (Route("/plan", plan),)
