"""The look and the script of all pages; their addresses change with what is in them, so browsers keep them for good."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from reconciler.present.html.pages import STATIC, static_text

if TYPE_CHECKING:
    from starlette.requests import Request


def static(request: Request) -> Response:
    """Give a file that pages name."""
    name = request.path_params["name"]
    if name not in STATIC:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(static_text(name), media_type=STATIC[name], headers=headers)


ROUTES = (Route("/static/{name}", static),)
