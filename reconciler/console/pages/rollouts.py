"""The pages of rollouts: all of them, and one with all that is known of it."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.routing import Route

from reconciler.console.frame import console_of, shown
from reconciler.present.html.rollouts_view import (
    FILTERS,
    Known,
    entry_of,
    find_entry,
    view_of_rollout,
    view_of_rollouts,
)
from reconciler.present.html.summary_view import names_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from reconciler.storage.rollouts import Ended
    from reconciler.storage.state import State

_PAGE = 50


def rollouts(request: Request) -> Response:
    """List rollouts: those that are under way, and those that are over, from the newest on."""
    state = console_of(request).state
    asked = {name: request.query_params.get(name, "") for name in ("status", "component")}
    if asked["status"] not in FILTERS:
        known = ", ".join(filter(None, FILTERS))
        raise HTTPException(HTTPStatus.BAD_REQUEST, f"`status` is one of {known}, or left out.")
    entries, at, names = _under_way(state)
    over = []
    if asked["status"] in {"", "over"}:
        over = state.rollouts_over(asked["component"], _ended(request.query_params.get("before", "")), _PAGE + 1)
    more = len(over) > _PAGE
    over = over[:_PAGE]
    before = ""
    if more:
        last = over[-1]
        place = [last.started.timestamp(), last.component, last.version, last.group]
        before = f"/rollouts?{urlencode({**asked, 'status': 'over', 'before': json.dumps(place)})}"
    view = view_of_rollouts([] if asked["status"] == "over" else entries, over, asked, before, names)
    return shown(request, "console_rollouts.html", view, tab="/rollouts", shown_at=at)


def rollout(request: Request) -> Response:
    """Show one rollout."""
    state = console_of(request).state
    key = request.path_params["component"], request.path_params["version"], request.query_params.get("group", "")
    record = state.rollout(key)
    if record is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such rollout, or none any more.")
    status, plan = state.snapshot("status"), state.snapshot("plan")
    document: Any = status.document if status else {}
    planned: Any = plan.document if plan else {}
    runs = planned.get("run") or {}
    components = document.get("components", ())
    mine = next((one for one in components if one["id"] == record.component), None)
    known = Known(
        record=record,
        entry=entry_of(
            record,
            find_entry(document.get("rollouts", ()), key),
            find_entry(planned.get("rollouts", ()), key),
        ),
        moves=state.rollout_moves(key),
        failures=state.failures_of(key),
        failed=state.count_failures(key),
        arrival=find_entry(runs.get("arrivals", ()), key),
        called=mine.get("name", "") if mine else "",
        has=mine["versions"].get(record.version, 0) if mine and not record.group else None,
    )
    at = status.at if status else None
    return shown(request, "console_rollout.html", view_of_rollout(known), tab="/rollouts", shown_at=at)


def _under_way(state: State) -> tuple[list[dict[str, Any]], Any, Mapping[str, str]]:
    """Give those that may still go on, as they are now, when somebody looked last, and what components are called."""
    status = state.snapshot("status")
    known = status.document["rollouts"] if status else ()
    entries = [entry_of(record, find_entry(known, key)) for key, record in state.rollouts_unsettled().items()]
    return entries, status.at if status else None, names_of(status.document) if status else {}


def _ended(text: str) -> Ended | None:
    """Read where a list goes on."""
    if not text:
        return None
    try:
        started, component, version, group = json.loads(text)
        return float(started), str(component), str(version), str(group)
    except (ValueError, TypeError):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "`before` isn't what this page writes there.") from None


ROUTES = (
    Route("/rollouts", rollouts),
    Route("/rollouts/{component}/{version}", rollout),
)
