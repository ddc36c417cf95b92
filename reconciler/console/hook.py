"""Where a forge tells of a push: the controller looks at once, and nothing else comes of it.

What is sent isn't read: where the spec comes from, and whose signature it needs, stands elsewhere. All that somebody
can do who knows the secret is to have the controller look, a few times a minute at most.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from reconciler.console.frame import body_of, console_of
from reconciler.console.sign_in.tries import Tries
from reconciler.errors import UpdoserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from reconciler.storage.state import State

_LOG = logging.getLogger("updoser.console")
LARGEST = 2 * 1024 * 1024
"""Bytes of what a forge tells."""
PAUSE = 10.0
"""Seconds between two looks that pushes ask for; what comes meanwhile is looked at once, at the end of it."""
_SIGNED = ("x-hub-signature-256", "x-gitea-signature", "x-forgejo-signature")
"""Headers with the HMAC-SHA256 of what is sent, in hex: of GitHub, Gitea and Forgejo."""
_SHOWN = "x-gitlab-token"
"""The header in which GitLab shows the secret itself."""


class Wakes:
    """Has a controller look, though not more often than each `PAUSE`."""

    def __init__(self, pause: float = PAUSE) -> None:
        """Nobody asked yet."""
        self._pause = pause
        self._next = 0.0
        self._waiting: asyncio.Task[None] | None = None
        self.tries = Tries()

    def ask(self, state: State) -> None:
        """Have it look now, or when it may."""
        if self._waiting is not None and not self._waiting.done():
            return
        loop = asyncio.get_running_loop()
        wait = max(self._next - loop.time(), 0.0)
        self._next = loop.time() + wait + self._pause
        self._waiting = loop.create_task(self._wake(state, wait))

    @staticmethod
    async def _wake(state: State, wait: float) -> None:
        await asyncio.sleep(wait)
        try:
            await run_in_threadpool(state.ask_controller)
        except UpdoserError as error:  # it looks by itself later
            _LOG.warning("the controller isn't woken: %s", error.message)


async def hook(request: Request) -> Response:
    """Take note of a push."""
    console, wakes = console_of(request), wakes_of(request)
    if not console.hook:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    address = request.client.host if request.client else ""
    if wait := wakes.tries.wait(address):
        raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, "Too many tries.", {"Retry-After": str(wait)})
    body = await body_of(request, LARGEST)
    if body is None:
        raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"That is more than {LARGEST} bytes.")
    if not is_from_forge(request.headers, body, console.hook):
        wakes.tries.fail(address)
        raise HTTPException(HTTPStatus.FORBIDDEN, "The signature isn't made with the secret of the hook.")
    wakes.ask(console.state)
    return PlainTextResponse("the controller looks\n", HTTPStatus.ACCEPTED)


def is_from_forge(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Say whether who sends this knows the secret: all that is shown must be right, and something must be."""
    key = secret.encode()
    made = hmac.new(key, body, "sha256").hexdigest().encode()
    shown = [headers[name].removeprefix("sha256=").encode("utf-8", "replace") for name in _SIGNED if name in headers]
    good = [hmac.compare_digest(one, made) for one in shown]
    if _SHOWN in headers:
        good.append(hmac.compare_digest(headers[_SHOWN].encode("utf-8", "replace"), key))
    return bool(good) and all(good)


def wakes_of(request: Request) -> Wakes:
    """Give what wakes the controller of an application."""
    found: Wakes = request.app.state.wakes
    return found


ROUTES = (Route("/hooks/git", hook, methods=["POST"]),)
