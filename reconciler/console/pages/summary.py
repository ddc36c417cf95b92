"""The first page: how the fleet is, and what needs somebody."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.routing import Route

from reconciler.console.frame import console_of, person_of, shown, snapshot_of
from reconciler.present.html.summary_view import WITHIN, Chosen, Facts, Summary, summary_of
from reconciler.present.html.trend_view import DAYS

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_RUNS = 5


def summary(request: Request) -> Response:
    """Show the Summary."""
    chosen = _chosen(request)
    found = snapshot_of(request, "status")
    if found is None:
        return shown(request, "console_empty.html", None, tab="/")
    console, roles = console_of(request), person_of(request).roles
    state, now = console.state, console.clock()
    group = snapshot_of(request, "group", chosen.group) if chosen.group else None
    if chosen.group and group is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no group {chosen.group!r:.80}.")
    runs, sampled = state.runs(_RUNS), state.last_sample()
    key = (found.digest, group and group.digest, chosen, roles, tuple((run.run_id, run.ended) for run in runs), sampled)

    def make() -> Summary:
        facts = Facts(
            status=found.document,
            now=now,
            groups=state.snapshot_names("group"),
            group=group and group.document,
            runs=runs,
            samples=state.samples("", now - timedelta(days=DAYS)),
            roles=roles,
        )
        return summary_of(facts, chosen)

    view = console.views.get(("summary", *key), make)
    return shown(request, "console_summary.html", view, tab="/", shown_at=found.at)


def _chosen(request: Request) -> Chosen:
    asked = request.query_params
    within = asked.get("within") or "0"
    if not within.isascii() or not within.isdigit() or int(within) not in WITHIN:
        raise HTTPException(
            HTTPStatus.BAD_REQUEST, f"within is one of {', '.join(map(str, WITHIN))}, not {within!r:.80}."
        )
    return Chosen(group=asked.get("group", ""), within=int(within))


ROUTES = (Route("/", summary),)
