"""What people do in the console: a page that says what will happen, and a form that has the controller do it.

Nothing is done here. A form writes down a request, and leads to the page that says what came of it.
"""

from __future__ import annotations

import hmac
import os
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.routing import Route

from reconciler.console.asking import NotAskedError, ask, check_role, rollout_of
from reconciler.console.errors import Wrong, show_wrong
from reconciler.console.frame import body_of, console_of, person_of, shown
from reconciler.model.controller import pause_digest
from reconciler.model.request import REQUEST_KINDS, Target
from reconciler.present.html.action_view import SPANS, Scene, view_of_action, view_of_request
from reconciler.present.html.rollouts_view import entry_of, find_entry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from reconciler.console.frame import Console
    from reconciler.model.request import RequestKind
    from reconciler.model.rollout import RolloutRecord

LARGEST = 64 * 1024
"""Bytes of a form."""
_FIELDS = 20


class _Wish(NamedTuple):
    """What an address, or a form, is about."""

    kind: RequestKind
    target: Target
    fields: Mapping[str, str]


def action(request: Request) -> Response:
    """Show what will happen."""
    try:
        wish = _wish_of(request, dict(request.query_params))
        check_role(person_of(request), wish.kind)
        return _form(request, wish, rollout_of(console_of(request), wish.kind, wish.target))
    except NotAskedError as error:
        return _refused(request, error)


async def act(request: Request) -> Response:
    """Take down what somebody wants, once they have seen what will happen."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "This takes what its form sends.")
    body = await body_of(request, LARGEST)
    if body is None:
        raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "That is more than a form sends.")
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "This takes what its form sends.") from None
    return await run_in_threadpool(_act, request, fields)


def _act(request: Request, fields: Mapping[str, str]) -> Response:
    console, person = console_of(request), person_of(request)
    if not person.csrf or not hmac.compare_digest(fields.get("csrf", "").encode(), person.csrf.encode()):
        raise HTTPException(
            HTTPStatus.FORBIDDEN, "This form isn't one that was shown to you here. Open its page again."
        )
    try:
        wish = _wish_of(request, fields)
    except NotAskedError as error:
        return _refused(request, error)
    try:
        asked = ask(
            console,
            person,
            wish.kind,
            wish.target,
            reason=fields.get("reason", ""),
            seen=fields.get("seen", ""),
            address=request.client.host if request.client else "",
            key=fields.get("key", ""),
        )
    except NotAskedError as error:
        if error.status != HTTPStatus.BAD_REQUEST:
            return _refused(request, error)
        return _form(request, wish, rollout_of(console, wish.kind, wish.target), problem=error.why)
    return RedirectResponse(f"/requests/{asked}", HTTPStatus.SEE_OTHER)


def asked(request: Request) -> Response:
    """Show what came of a request."""
    console = console_of(request)
    found = console.state.request(request.path_params["id"])
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such request.")
    target = found.target
    record = console.state.rollout((target.component, target.version, target.group)) if target.component else None
    view = view_of_request(found, record, console.state.controller_status(), person_of(request).who)
    return shown(request, "console_request.html", view, tab="/rollouts" if target.component else "/")


def _wish_of(request: Request, fields: Mapping[str, str]) -> _Wish:
    """Read what is wanted.

    Raises:
        NotAskedError: that can't be.
    """
    kind = next((one for one in REQUEST_KINDS if one == request.path_params["action"]), None)
    if kind is None:
        raise NotAskedError(HTTPStatus.NOT_FOUND, "Nothing like that can be done here.")
    now = console_of(request).clock()
    component, version, group = (fields.get(name, "") for name in ("component", "version", "group"))
    undo = kind == "abort" and bool(fields.get("undo"))
    target = Target(component=component, version=version, group=group, undo=undo, until=_until(kind, fields, now))
    return _Wish(kind, target, fields)


def _until(kind: RequestKind, fields: Mapping[str, str], now: datetime) -> datetime | None:
    if kind != "pause_controller" or not fields.get("span"):
        return None
    hours = {value: hours for value, _label, hours in SPANS}.get(fields["span"])
    if hours is None:
        raise NotAskedError(HTTPStatus.BAD_REQUEST, "That is no length of a pause.")
    return now + timedelta(hours=hours)


def _form(request: Request, wish: _Wish, record: RolloutRecord | None, problem: str = "") -> Response:
    console = console_of(request)
    view = view_of_action(wish.kind, _scene(console, wish.target, record), wish.fields, os.urandom(16).hex(), problem)
    status = HTTPStatus.BAD_REQUEST if problem else HTTPStatus.OK
    return shown(request, "console_action.html", view, tab="/rollouts" if record else "/", status=status)


def _scene(console: Console, target: Target, record: RolloutRecord | None) -> Scene:
    """Give what decides on what will happen."""
    state = console.state
    status = state.snapshot("status")
    document = status.document if status else {}
    controller, progress, _waiting = state.standing()
    seen = ""
    if record is not None:
        seen = record.fingerprint
    elif controller is not None and controller.pause is not None:
        seen = pause_digest(controller.pause)
    return Scene(
        entry=entry_of(record, find_entry(document.get("rollouts", ()), record.key)) if record else None,
        target=target,
        has=_has(document, record) if record else None,
        controller=controller,
        running=progress is not None,
        four_eyes=console.four_eyes,
        seen=seen,
    )


def _has(document: Mapping[str, object], record: RolloutRecord) -> int | None:
    """Count the clients that have the version of a rollout through the whole fleet; None where nobody counted."""
    components = document.get("components")
    if record.group or not isinstance(components, list):
        return None
    entry = next((one for one in components if one["id"] == record.component), None)
    return None if entry is None else entry["versions"].get(record.version, 0)


def _refused(request: Request, error: NotAskedError) -> Response:
    titles = {HTTPStatus.FORBIDDEN: "You may not do that", HTTPStatus.NOT_FOUND: "Not found"}
    return show_wrong(request, error.status, Wrong(titles.get(error.status, "Not now"), error.why, error.todo))


ROUTES = (
    Route("/do/{action}", action, methods=["GET"]),
    Route("/do/{action}", act, methods=["POST"]),
    Route("/requests/{id:int}", asked),
)
