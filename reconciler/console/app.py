"""The application: every address of the console in one table, and what stands before it.

A request passes `guard` (hosts, sizes, headers, sign-in), then goes to a page, an action or the API. Pages are plain
functions, run in a few threads; only what stays open (events) is asynchronous.
"""

from __future__ import annotations

from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route

from reconciler.console import actions, events, hook
from reconciler.console.api import routes as api
from reconciler.console.errors import HANDLERS
from reconciler.console.hook import Wakes
from reconciler.console.live import Live, look_at
from reconciler.console.pages import (
    audit,
    clients,
    components,
    desired,
    plan,
    rollouts,
    runs,
    sources,
    statics,
    summary,
    telling,
)
from reconciler.console.shared import SharedPages
from reconciler.console.sign_in import pages as sign_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from reconciler.console.frame import Console

LOOKED_AT: Sequence[BaseRoute] = (
    *summary.ROUTES,
    *components.ROUTES,
    *clients.ROUTES,
    *runs.ROUTES,
    *audit.ROUTES,
    *rollouts.ROUTES,
    *plan.ROUTES,
    *sources.ROUTES,
    *desired.ROUTES,
)
"""Pages that look the same to all who have the same roles."""
PAGES: Sequence[BaseRoute] = (*LOOKED_AT, *actions.ROUTES, *api.ROUTES)
"""What shows the state, to people and to programs: all that one of them reads is of one moment."""
ROUTES: Sequence[BaseRoute] = (
    *PAGES,
    *events.ROUTES,
    *hook.ROUTES,
    *statics.ROUTES,
    *sign_in.ROUTES,
    *telling.ROUTES,
)
_READS = frozenset(["GET", "HEAD"])


def make_app(console: Console, middleware: Sequence[Middleware] = ()) -> Starlette:
    """Make the application."""
    pages = SharedPages()
    routes = [_in_one_look(route, console, pages) if route in PAGES else route for route in ROUTES]
    app = Starlette(routes=routes, middleware=list(middleware), exception_handlers=dict(HANDLERS))
    app.state.console = console
    app.state.wakes = Wakes()
    app.state.live = Live(partial(look_at, console.state), console.clock)
    return app


def _in_one_look(route: BaseRoute, console: Console, pages: SharedPages) -> BaseRoute:
    """Have all that a page reads be of one moment: what stands around it fits what is in it."""
    if not isinstance(route, Route) or iscoroutinefunction(route.endpoint):
        return route
    give: Callable[[Request], Response] = route.endpoint
    is_shared = route in LOOKED_AT

    def make(request: Request) -> Response:
        with console.state.looking():
            return give(request)

    @wraps(give)
    def look(request: Request) -> Response:
        if request.method not in _READS:
            return give(request)
        return pages.give(request, make) if is_shared else make(request)

    return Route(route.path, look, methods=list(route.methods or ()), name=route.name)
