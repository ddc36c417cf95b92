"""What is said to programs that watch this process: whether it lives, can show anything, and its metrics."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse
from starlette.routing import Route

from reconciler.console.frame import console_of
from reconciler.console.metrics import metrics_of
from reconciler.errors import StateError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

METRICS = "text/plain; version=0.0.4; charset=utf-8"


async def livez(_request: Request) -> Response:
    """Say that it answers; no thread is waited for."""
    return PlainTextResponse("ok\n")


def readyz(request: Request) -> Response:
    """Say whether the state can be read."""
    try:
        console_of(request).state.controller_status()
    except StateError:  # why isn't said to who isn't signed in
        return PlainTextResponse("not ok: the state can't be read\n", HTTPStatus.SERVICE_UNAVAILABLE)
    return PlainTextResponse("ok\n")


def metrics(request: Request) -> Response:
    """Give the metrics."""
    return PlainTextResponse(metrics_of(console_of(request)), media_type=METRICS)


ROUTES = (Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics))
