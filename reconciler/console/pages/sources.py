"""The page of where releases come from and where they lie: sources, the store, the repository for other sites."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from reconciler.console.frame import console_of, shown
from reconciler.present.html.sources_view import view_of_sources

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def sources(request: Request) -> Response:
    """Show all sources, the store and the repository."""
    console = console_of(request)
    status, places = console.state.snapshot("status"), console.state.snapshot("places")
    if status is None:
        return shown(request, "console_empty.html", None, tab="/sources")
    view = view_of_sources(
        status.document["sources"],
        console.state.source_reports(),
        places.document if places else {},
        console.clock(),
    )
    return shown(request, "console_sources.html", view, tab="/sources", shown_at=status.at)


ROUTES = (Route("/sources", sources),)
