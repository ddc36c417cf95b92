"""The address at which a page listens for changes, as server-sent events."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from reconciler.console.frame import person_of
from reconciler.console.live import event, live_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from reconciler.console.live import Listener, Live

HEARTBEAT = 15.0
"""Seconds without a word: proxies let go of connections that are silent for longer than some minute."""
RETRY = 3000
"""Milliseconds after which a browser tries again."""
PATIENCE = 2.0
"""Seconds that somebody who is let go has to take what was said."""
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def events(request: Request) -> Response:
    """Tell what changes, until who listens goes, is signed out, or the process ends."""
    if not person_of(request).may("viewer"):
        raise HTTPException(HTTPStatus.FORBIDDEN, "That takes the role viewer.")
    if request.method == "HEAD":
        return Response(headers=_HEADERS, media_type="text/event-stream")
    live = live_of(request.app)
    last = request.headers.get("last-event-id") or request.query_params.get("last", "")
    listener = await live.join(last)
    if listener is None:
        said = "Too many listen already.\n" if not live.ended else "The console is about to end.\n"
        return PlainTextResponse(said, HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "10"})
    return EventStream(live, listener, request.scope.get("updoser.still"))


class EventStream(Response):
    """A stream of events; `still` says whether who listens is still signed in."""

    media_type = "text/event-stream"

    def __init__(self, live: Live, listener: Listener, still: Callable[[], bool] | None) -> None:
        """Send nothing yet."""
        self.status_code = HTTPStatus.OK
        self.background = None
        self.body = b""
        self.init_headers(_HEADERS)
        del self.headers["content-length"]
        self._live = live
        self._listener = listener
        self._still = still

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - all responses have it
        """Send what there is to say, until it is over."""
        tasks = {
            asyncio.create_task(self._write(send)),
            asyncio.create_task(_gone(receive)),
            asyncio.create_task(self._listener.over.wait()),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._live.leave(self._listener)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(OSError, TimeoutError):  # whoever doesn't read is hung up on
            async with asyncio.timeout(PATIENCE):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        text = f"retry: {RETRY}\n\n"
        while True:
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
            try:
                async with asyncio.timeout(HEARTBEAT):  # not wait_for: that of Python 3.11 may lose a cancellation
                    text = await self._listener.waiting.get()
            except TimeoutError:
                if self._still is not None and not await run_in_threadpool(self._still):
                    return
                text = event("beat", "{}")  # a script hears no comment, and wants to know that a silence is none


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


ROUTES = (Route("/events", events),)
