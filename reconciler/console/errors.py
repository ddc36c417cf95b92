"""What is shown where a page can't be: what is wrong and what to do, never a traceback."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from reconciler.console.api.answers import PREFIX, ApiError, problem
from reconciler.console.frame import shown
from reconciler.errors import UpdoserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

_LOG = logging.getLogger("updoser.console")
API = "/api/"
_SAID: Mapping[int, str] = {
    HTTPStatus.NOT_FOUND: "There is no such page.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address doesn't take that.",
}


class Wrong(NamedTuple):
    """What a page says that can't be shown."""

    title: str
    why: str
    todo: str = ""


def show_wrong(request: Request, status: int, wrong: Wrong, headers: Mapping[str, str] | None = None) -> Response:
    """Say what is wrong: to programs as a problem, as a page where a person asks who is signed in, else as a text."""
    if request.url.path.startswith(API):
        return problem(request, status, wrong.why, wrong.todo, headers=headers)
    if "updoser.person" not in request.scope:
        return PlainTextResponse(f"{wrong.title}: {wrong.why}\n", status, headers=dict(headers or {}))
    return shown(request, "console_wrong.html", wrong, tab="", status=status, headers=headers)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    said = error.detail if error.detail != phrase else _SAID.get(error.status_code, "That can't be done here.")
    todo = f"{PREFIX}/openapi.json says what there is" if request.url.path.startswith(API) else ""
    return show_wrong(request, error.status_code, Wrong(phrase, said, todo), error.headers)


def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, UpdoserError)
    _LOG.error("%s: %s", request.url.path, error.message)
    status = HTTPStatus.SERVICE_UNAVAILABLE
    try:
        return show_wrong(request, status, Wrong("The state can't be read", error.message, error.hint))
    except UpdoserError:  # the frame reads it, too
        return PlainTextResponse(f"The state can't be read: {error.message}\n", status)


def _asked_wrongly(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return problem(request, error.status, error.error, error.hint, where=error.where, headers=error.headers)


HANDLERS: Mapping[Any, Any] = {HTTPException: _http, UpdoserError: _known, ApiError: _asked_wrongly}
