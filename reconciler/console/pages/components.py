"""The pages of components: all of them, and one of them."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.routing import Route

from reconciler.console.frame import console_of, shown, snapshot_of
from reconciler.hints import suggestion
from reconciler.present.html.component_view import ComponentKnown, OneComponent, component_view, components_of
from reconciler.present.html.trend_view import DAYS

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_TAB = "/components"


def components(request: Request) -> Response:
    """Show all components."""
    found = snapshot_of(request, "status")
    if found is None:
        return shown(request, "console_empty.html", None, tab=_TAB)
    view = console_of(request).views.get(("components", found.digest), lambda: components_of(found.document))
    return shown(request, "console_components.html", view, tab=_TAB, shown_at=found.at)


def component(request: Request) -> Response:
    """Show a component."""
    name = request.path_params["name"]
    found = snapshot_of(request, "status")
    entries = {entry["id"]: entry for entry in found.document["components"]} if found else {}
    if found is None or name not in entries:
        hint = suggestion(name, entries)
        raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no component {name!r:.80}.{f' {hint}' if hint else ''}")
    console = console_of(request)
    sites = found.document.get("sites", ())
    kept, sampled = snapshot_of(request, "component", name), console.state.last_sample()

    def make() -> OneComponent:
        now = console.clock()
        known = ComponentKnown(
            entry=entries[name],
            document=kept.document if kept else None,
            now=now,
            sites=sites,
            samples=console.state.samples(name, now - timedelta(days=DAYS)),
        )
        return component_view(known)

    view = console.views.get(("component", name, found.digest, kept and kept.digest, sampled), make)
    return shown(request, "console_component.html", view, tab=_TAB, shown_at=found.at)


ROUTES = (Route("/components", components), Route("/components/{name}", component))
